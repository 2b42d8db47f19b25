package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a configuration file in octets: room for 10,000 routes and more (T-OV-07).
const maxFile = 16 << 20

// Load reads the file at path with its secrets, which env serves (os.LookupEnv). It fails with Faults if the configuration is
// wrong, with another error if the file cannot be read. Faults of the secrets are found even when there are others.
func Load(path string, env Environment) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	c, parseErr := parse(path, text)
	var faults, more Faults
	errors.As(parseErr, &faults)
	errors.As(c.ReadSecrets(filepath.Dir(path), env), &more)
	if err := append(faults, more...).err(); err != nil {
		return nil, err
	}
	c.TLS.from(filepath.Dir(path))
	c.SIP.from(filepath.Dir(path))
	c.Policy.from(filepath.Dir(path))
	c.Store.Cluster.from(filepath.Dir(path))
	return c, nil
}

// Parse reads a configuration from text; name stands for the file in faults. It reads no other file and no secret. It fails with
// Faults and then returns no Config.
func Parse(name string, text []byte) (*Config, error) {
	c, err := parse(name, text)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// parse returns as much of the configuration as could be understood, beside the faults.
func parse(name string, text []byte) (*Config, error) {
	d := decoder{origin: origin{file: name, at: make(map[string]position)}}
	c := &Config{}
	root, fault := readDocument(text)
	if fault != nil {
		fault.File = name
		return c, Faults{*fault}
	}
	d.config(root, c)
	c.origin = d.origin
	if len(d.faults) <= maxFaults {
		d.faults = append(d.faults, c.check()...)
	}
	return c, d.faults.err()
}

// readDocument reads the one YAML document in text. A nil node is an empty one.
func readDocument(text []byte) (root *yaml.Node, fault *Fault) {
	if len(text) > maxFile {
		return nil, &Fault{Line: 1, Column: 1, Problem: "the file is longer than 16MiB"}
	}
	// The YAML library is the one part here that is not ours: a panic in it is a file that cannot be read, not the end of a
	// gateway that checks a new configuration while it runs.
	defer func() {
		if r := recover(); r != nil {
			root, fault = nil, &Fault{Line: 1, Column: 1, Problem: "the file cannot be read as YAML", Instead: "write it anew, from `isthmus config`"}
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	switch err := dec.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, syntaxFault(err)
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		return nil, &Fault{Line: max(second.Line, 1), Column: max(second.Column, 1), Problem: "a second document begins here", Instead: "keep one document, without ---"}
	case !errors.Is(err, io.EOF):
		return nil, syntaxFault(err)
	}
	if document.Kind != yaml.DocumentNode || len(document.Content) != 1 {
		return nil, nil
	}
	return document.Content[0], nil
}

var yamlLine = regexp.MustCompile(`^yaml: line ([0-9]+): ([a-z ]+)`)

// syntaxFault is the library's error without any of the file's text in it, for a secret may be there.
func syntaxFault(err error) *Fault {
	f := &Fault{Line: 1, Column: 1, Problem: "no YAML", Instead: "see `isthmus config` for the form of the file"}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && n > 0 {
			f.Line = n
		}
		f.Problem += ": " + m[2]
	}
	return f
}
