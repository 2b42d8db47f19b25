package main

import (
	"io"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/configs"
)

// newLogger writes JSON, one object a line, to w. The level is one that the configuration has checked, and may be set again.
func newLogger(w io.Writer, cfg configs.Log) (zerolog.Logger, *levelSampler) {
	level := &levelSampler{}
	level.set(cfg)
	return zerolog.New(w).Sample(level).With().Timestamp().Logger(), level
}
