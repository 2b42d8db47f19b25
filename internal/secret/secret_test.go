package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/internal/secret"
)

// T-AD-02: no way of printing gives a secret away.
func TestT_AD_02_Redacted(t *testing.T) {
	const canary = "canary-7d1f"
	s := struct{ S secret.Text }{secret.New(canary)}
	var log bytes.Buffer
	logger := zerolog.New(&log)
	logger.Info().Interface("s", s).Stringer("t", s.S).Any("u", &s.S).Msg("")
	encoded, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	all := log.String() + string(encoded) + fmt.Sprint(s, &s, s.S) + fmt.Sprintf("%v %+v %#v %s %q %x %d", s, s, s, s.S, s.S, s.S, s.S)
	if strings.Contains(all, canary) || strings.Contains(all, fmt.Sprintf("%x", canary)) {
		t.Error(all)
	}
	if s.S.Reveal() != canary || s.S.IsZero() || !(secret.Text{}).IsZero() {
		t.Error("the secret is not what was put in")
	}
}
