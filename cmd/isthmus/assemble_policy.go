package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/gateway/policy"
	"github.com/isthmus-gateway/isthmus/internal/smime"
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

// openSignatures reads the authorities whose certificates count in signed messages; nil if no rule asks.
func openSignatures(cfg *configs.Config) (*smime.Verifier, error) {
	if cfg.Policy.SignatureRootsFile == "" {
		return nil, nil
	}
	v, err := smime.Open(string(cfg.Policy.SignatureRootsFile))
	if err != nil {
		return nil, fmt.Errorf("policy.signature_roots_file: %w", err)
	}
	return v, nil
}

func readBlocked(name string) ([]policy.Party, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return policy.ReadBlocked(name, f)
}
