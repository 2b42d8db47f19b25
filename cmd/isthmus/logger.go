package main

import (
	"io"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/configs"
)

// newLogger writes JSON, one object a line, to w. The level is one that the configuration has checked.
func newLogger(w io.Writer, cfg configs.Log) (zerolog.Logger, error) {
	level, err := zerolog.ParseLevel(cfg.Level)
	if err != nil {
		return zerolog.Nop(), err
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger(), nil
}
