package main

import (
	"math"
	"os"
	"runtime/debug"

	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/internal/admission"
)

// openAdmission makes what refuses new work when more comes than can be done.
func openAdmission(cfg *configs.Config, with surroundings) (*admission.Controller, error) {
	return admission.New(admission.Config{Memory: memoryOf(cfg), Registerer: with.registry})
}

// memoryOf is the cap of the process: what the environment says (GOMEMLIMIT), else the configuration's.
func memoryOf(cfg *configs.Config) int64 {
	if os.Getenv("GOMEMLIMIT") != "" {
		if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
			return limit
		}
	}
	return int64(cfg.Limits.Memory)
}

// limitMemory has the Go runtime keep to the cap, as far as it can. It is for the process that serves.
func limitMemory(cfg *configs.Config) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryOf(cfg))
	}
}
