package configs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/isthmus-gateway/isthmus/internal/secret"
)

// Secret is a text that must not be seen. Whatever prints it, prints "[redacted]". The zero value is no secret.
type Secret = secret.Text

// NewSecret keeps text.
func NewSecret(text string) Secret { return secret.New(text) }

// maxSecret bounds a secret in octets, so that a device or a wrong file is not read without end.
const maxSecret = 64 << 10

// Environment is where secret_env looks: os.LookupEnv, or a map in a test.
type Environment func(name string) (string, bool)

// keyedSecret is one secret of the configuration: where it is read from, and to.
type keyedSecret struct {
	at, file, env string  // paths of the entry and the names of its two keys
	from          Path    // what they say
	variable      EnvName //
	to            *Secret
}

// secrets lists every secret that the configuration names, in the order of the file.
func (c *Config) secrets() (list []keyedSecret) {
	for i := range c.SIP.Peers {
		p := &c.SIP.Peers[i]
		at := "sip.peers[" + strconv.Itoa(i) + "]"
		for j := range p.Users {
			u := &p.Users[j]
			list = append(list, keyedSecret{at + ".users[" + strconv.Itoa(j) + "]", "password_file", "password_env", u.PasswordFile, u.PasswordEnv, &u.Password})
		}
		if k := &p.Credentials; k.Username != "" {
			list = append(list, keyedSecret{at + ".credentials", "password_file", "password_env", k.PasswordFile, k.PasswordEnv, &k.Password})
		}
	}
	for i := range c.XMPP.Components {
		m := &c.XMPP.Components[i]
		list = append(list, keyedSecret{"xmpp.components[" + strconv.Itoa(i) + "]", "secret_file", "secret_env", m.SecretFile, m.SecretEnv, &m.Secret})
	}
	if s := &c.XMPP.Server; s.DialbackSecretFile != "" || s.DialbackSecretEnv != "" {
		list = append(list, keyedSecret{"xmpp.server", "dialback_secret_file", "dialback_secret_env", s.DialbackSecretFile, s.DialbackSecretEnv, &s.DialbackSecret})
	}
	return list
}

// ReadSecrets fills each Secret from its file or variable. Relative paths start at folder. It fails with Faults: a file that is
// missing, is no regular file, is empty, is too long or can be read by others than its owner; a variable that is unset or empty. No
// fault holds any of a secret's octets.
func (c *Config) ReadSecrets(folder string, env Environment) error {
	var faults Faults
	for _, k := range c.secrets() {
		var v *valueFault
		at := k.at
		switch {
		case k.from != "":
			at += "." + k.file
			*k.to, v = readSecretFile(folder, string(k.from))
		case k.variable != "":
			at += "." + k.env
			*k.to, v = readSecretEnv(string(k.variable), env)
		}
		if v != nil {
			faults = append(faults, c.origin.fault(at, *v))
		}
	}
	return faults.err()
}

// secretSources checks that exactly one source of each secret is named.
func (k *checker) secretSources() {
	for _, s := range k.secrets() {
		switch {
		case s.from != "" && s.variable != "":
			k.fault(s.at+"."+s.env, "the secret is named twice", "keep "+s.file+" or "+s.env)
		case s.from == "" && s.variable == "" && !k.written(s.at+"."+s.file) && !k.written(s.at+"."+s.env):
			k.fault(s.at, "no secret is named", "write "+s.file+": and a path, or "+s.env+": and the name of a variable")
		}
	}
}

func readSecretEnv(name string, env Environment) (Secret, *valueFault) {
	text, ok := env(name)
	if !ok {
		return Secret{}, &valueFault{"the environment variable " + name + " is not set", "set it in the environment of isthmus, or use secret_file"}
	}
	return checkSecret(text, "the environment variable "+name)
}

func readSecretFile(folder, name string) (Secret, *valueFault) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(folder, name)
	}
	what := "the file " + quoted(name)
	// Opened first and asked afterwards, so that the mode is that of the octets that are read.
	f, err := os.OpenFile(name, os.O_RDONLY|openNonblock, 0)
	if err != nil {
		problem := "cannot be read"
		switch {
		case errors.Is(err, fs.ErrNotExist):
			problem = "does not exist"
		case errors.Is(err, fs.ErrPermission):
			problem = "may not be read by the user that isthmus runs as"
		}
		return Secret{}, &valueFault{what + " " + problem, "create it for that user with mode 0600, the secret in it"}
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil || !info.Mode().IsRegular():
		return Secret{}, &valueFault{what + " is no regular file", "name a file that holds the secret"}
	case info.Mode().Perm()&0o077 != 0:
		return Secret{}, &valueFault{
			fmt.Sprintf("%s has mode %04o: others than its owner may use it", what, info.Mode().Perm()), "run chmod 600 on it",
		}
	}
	octets, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return Secret{}, &valueFault{what + " cannot be read", "name a file that holds the secret"}
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(octets), "\n"), "\r")
	return checkSecret(text, what)
}

func checkSecret(text, what string) (Secret, *valueFault) {
	switch {
	case text == "":
		return Secret{}, &valueFault{what + " is empty", "put the secret into it"}
	case len(text) > maxSecret:
		return Secret{}, &valueFault{what + " is longer than 64KiB", "put the secret alone into it"}
	case strings.ContainsAny(text, "\r\n\x00"):
		return Secret{}, &valueFault{what + " has more than one line", "put the secret alone into it, on one line"}
	}
	return NewSecret(text), nil
}
