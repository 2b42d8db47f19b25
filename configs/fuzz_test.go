package configs

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// T-FZ-16: no panic, and each error names the line.
func FuzzParse_T_FZ_16(f *testing.F) {
	for _, name := range []string{"two-domains.yaml", "reference.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(right))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("? [x]\n: y\n"))
	f.Add([]byte("routes:\n- {domain: x, via: sip, next_hops: [~]}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("f", text)
		if err == nil {
			if c == nil || len(c.Routes) == 0 {
				t.Fatal("a configuration without routes was taken")
			}
			return
		}
		var faults Faults
		if !errors.As(err, &faults) || len(faults) == 0 || c != nil {
			t.Fatalf("error of type %T: %v", err, err)
		}
		lines := strings.Count(string(text), "\n") + strings.Count(string(text), "\r") + strings.Count(string(text), "\u2028") +
			strings.Count(string(text), "\u2029") + strings.Count(string(text), "\u0085") + 2
		for _, fault := range faults {
			if fault.Line < 1 || fault.Column < 1 || fault.Line > max(lines, len(text)) || fault.Problem == "" || strings.ContainsAny(fault.String(), "\r\n\x1b") {
				t.Errorf("a fault without a place or a cause: %q", fault.String())
			}
		}
	})
}
