package main

import (
	"errors"
	"os"

	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/gateway/policy"
)

// openPolicy makes the policy of a configuration, with those who are blocked read from their files. A file that cannot be read, or has a
// faulty line, is an error: a gateway that serves without it would let them in.
func openPolicy(cfg *configs.Config) (*policy.Policy, error) {
	var blocked []policy.Party
	var faults []error
	for _, name := range cfg.Policy.BlockedFiles {
		list, err := readBlocked(string(name))
		if err != nil {
			faults = append(faults, err)
		}
		blocked = append(blocked, list...)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return cfg.Policy.Compiled(blocked)
}

func readBlocked(name string) ([]policy.Party, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return policy.ReadBlocked(name, f)
}
