package main

import (
	"errors"
	"io"

	"github.com/isthmus-gateway/isthmus/configs"
)

// configCommand prints the reference.
type configCommand struct{}

// Run implements the command.
func (configCommand) Run(p process) error {
	_, err := io.WriteString(p.out, configs.Reference())
	return err
}

// load reads a configuration with its secrets. A file that cannot be read is a fault of the command line.
func load(file string, p process) (*configs.Config, error) {
	cfg, err := configs.Load(file, p.environment)
	var faults configs.Faults
	if err != nil && !errors.As(err, &faults) {
		return nil, &usageError{err.Error()}
	}
	return cfg, err
}
