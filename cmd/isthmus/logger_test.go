package main

import (
	"bytes"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/configs"
)

// Each line has the time when it was written, also those that share a millisecond.
func TestLinesHaveTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		logger, _ := newLogger(&out, configs.Log{Level: "info"})
		child := logger.With().Str("part", "x").Logger()
		var want []time.Time
		for _, wait := range []time.Duration{0, 0, 400 * time.Microsecond, time.Millisecond, 26 * time.Hour} {
			time.Sleep(wait)
			want = append(want, time.Now())
			child.Info().Int("n", len(want)).Msg("line")
		}
		lines := json.NewDecoder(&out)
		for i, at := range want {
			var line struct {
				Time string
				N    int
				Part string
			}
			if err := lines.Decode(&line); err != nil {
				t.Fatal(err)
			}
			if line.N != i+1 || line.Part != "x" || line.Time != at.Format(zerolog.TimeFieldFormat) {
				t.Errorf("line %d: %+v, written at %v", i, line, at)
			}
		}
	})
}
