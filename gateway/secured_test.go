package gateway_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/gateway/policy"
	"github.com/isthmus-gateway/isthmus/internal/smime"
)

// What is signed or encrypted is treated as the rule says that allows the message; without a rule that asks, nothing is looked at. What a good
// signature is, is internal/smime's.
func TestSecuredByPolicy(t *testing.T) {
	const signed = `multipart/signed; protocol="application/pkcs7-signature"; boundary=b`
	for _, c := range []struct {
		name, kind string
		fallback   bool
		bounds     policy.Bounds
		reason     adapters.Reason
		text       string // part of what the sender is told
		mark       adapters.Signature
	}{
		{"signed, and nobody asks", signed, false, policy.Bounds{}, adapters.ReasonNone, "", adapters.SignatureUnchecked},
		{"badly signed, marked", signed, false, policy.Bounds{Signature: policy.SignaturesMarked}, adapters.ReasonNone, "", adapters.SignatureInvalid},
		{"unsigned, marked", "text/plain", false, policy.Bounds{Signature: policy.SignaturesMarked}, adapters.ReasonNone, "", adapters.SignatureUnchecked},
		{"badly signed, required", signed, false, policy.Bounds{Signature: policy.SignaturesRequired}, adapters.ReasonPolicyViolation, "A signature is required here. The signature is malformed", 0},
		{"unsigned, required", "text/plain", false, policy.Bounds{Signature: policy.SignaturesRequired}, adapters.ReasonPolicyViolation, "not signed", 0},
		{"beside an encrypted one", "text/plain", true, policy.Bounds{}, adapters.ReasonNone, "", 0},
		{"beside an encrypted one, refused", "text/plain", true, policy.Bounds{NoFallback: true}, adapters.ReasonUnsupportedContent, "without encryption", 0},
		{"no encrypted one", "text/plain", false, policy.Bounds{NoFallback: true}, adapters.ReasonNone, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStrait(t, func(g *gateway.Config) {
					g.Policy, g.Signatures = ruled(t, policy.Config{Rules: []policy.Rule{{Name: "r", Bounds: c.bounds}}}), smime.New(x509.NewCertPool())
				})
				defer s.shutdown()
				op := message(romeo, juliet, "--b\r\n\r\nx\r\n--b--\r\n")
				op.Content.Type, op.Fallback = c.kind, c.fallback
				answer := s.send(s.sip, op)
				synctest.Wait()
				st := <-answer
				if st.Reason != c.reason || !strings.Contains(st.Text, c.text) {
					t.Errorf("%+v", st)
				}
				if c.reason == adapters.ReasonNone && op.Signature != c.mark {
					t.Errorf("marked %q", op.Signature)
				}
			})
		})
	}
	if _, err := gateway.New(gateway.Config{Policy: ruled(t, policy.Config{Rules: []policy.Rule{{Name: "r", Bounds: policy.Bounds{Signature: policy.SignaturesMarked}}}})}); err == nil {
		t.Error("a policy that asks for signatures, without authorities")
	}
}
