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
)

// Secret is a text that must not be seen. Whatever prints it, prints "[redacted]": fmt, JSON, YAML, zerolog. The zero value is
// no secret.
type Secret struct{ text string }

const redacted = "[redacted]"

// NewSecret keeps text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal is the text itself, for the one place that must put it on the wire.
func (s Secret) Reveal() string { return s.text }

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.text == "" }

// String is "[redacted]".
func (s Secret) String() string { return redacted }

// GoString is "[redacted]".
func (s Secret) GoString() string { return redacted }

// Format writes "[redacted]" whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText writes "[redacted]".
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// maxSecret bounds a secret in octets, so that a device or a wrong file is not read without end.
const maxSecret = 64 << 10

// Environment is where secret_env looks: os.LookupEnv, or a map in a test.
type Environment func(name string) (string, bool)

// ReadSecrets fills the Secret of each component from its file or variable. Relative paths start at folder. It fails with
// Faults: a file that is missing, is no regular file, is empty, is too long or can be read by others than its owner; a variable
// that is unset or empty. No fault holds any of a secret's octets.
func (c *Config) ReadSecrets(folder string, env Environment) error {
	var faults Faults
	for i := range c.XMPP.Components {
		m := &c.XMPP.Components[i]
		at := "xmpp.components[" + strconv.Itoa(i) + "]"
		var v *valueFault
		switch {
		case m.SecretFile != "":
			at += ".secret_file"
			m.Secret, v = readSecretFile(folder, string(m.SecretFile))
		case m.SecretEnv != "":
			at += ".secret_env"
			m.Secret, v = readSecretEnv(string(m.SecretEnv), env)
		}
		if v != nil {
			faults = append(faults, c.origin.fault(at, *v))
		}
	}
	return faults.err()
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
	return Secret{text}, nil
}
