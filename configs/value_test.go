package configs

import (
	"fmt"
	"reflect"
	"testing"
	"time"
)

func TestQuantities(t *testing.T) {
	for _, c := range []struct {
		name, in string
		v        interface {
			value
			quantity
		}
		want  int64
		print string
		ok    bool
	}{
		{"seconds", "30s", new(Duration), int64(30 * time.Second), "30s", true},
		{"hours", "24h", new(Duration), int64(24 * time.Hour), "24h", true},
		{"several units", "1h30m", new(Duration), int64(90 * time.Minute), "1h30m", true},
		{"zero", "0s", new(Duration), 0, "0s", true},
		{"no unit", "0", new(Duration), 0, "", false},
		{"days", "7d", new(Duration), 0, "", false},
		{"empty", "", new(Duration), 0, "", false},
		{"overflow", "9999999h", new(Duration), 0, "", false},
		{"octets", "1300B", new(Size), 1300, "1300B", true},
		{"kibi", "64KiB", new(Size), 64 << 10, "64KiB", true},
		{"gibi", "2GiB", new(Size), 2 << 30, "2GiB", true},
		{"unit folds", "1024KiB", new(Size), 1 << 20, "1MiB", true},
		{"nothing", "0B", new(Size), 0, "0B", true},
		{"only a unit", "KiB", new(Size), 0, "", false},
		{"sign", "+1B", new(Size), 0, "", false},
		{"negative", "-1B", new(Size), 0, "", false},
		{"fraction", "1.5KiB", new(Size), 0, "", false},
		{"size overflow", "99999999999GiB", new(Size), 0, "", false},
		{"count", "1000", new(Count), 1000, "1000", true},
		{"count with underscore", "1_000", new(Count), 0, "", false},
		{"hexadecimal", "0x10", new(Count), 0, "", false},
		{"count with sign", "+1", new(Count), 0, "", false},
		{"empty count", "", new(Count), 0, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			fault := c.v.parse(c.in)
			if (fault == nil) != c.ok {
				t.Fatalf("parse(%q) = %v", c.in, fault)
			}
			if c.ok && (c.v.quantity() != c.want || c.v.String() != c.print) {
				t.Errorf("parse(%q) = %d, printed %q; want %d, %q", c.in, c.v.quantity(), c.v, c.want, c.print)
			}
		})
	}
}

// T-AD-01: the admin port cannot be put where another machine reaches it.
func TestAdminAddress_T_AD_01(t *testing.T) {
	for _, c := range []struct {
		in, network, text string
	}{
		{"unix:/run/isthmus/admin.sock", "unix", "/run/isthmus/admin.sock"},
		{"127.0.0.1:9090", "tcp", "127.0.0.1:9090"},
		{"127.9.9.9:1", "tcp", "127.9.9.9:1"},
		{"[::1]:9090", "tcp", "[::1]:9090"},
		{"[::ffff:127.0.0.1]:9090", "tcp", "[::ffff:127.0.0.1]:9090"},
		{"0.0.0.0:9090", "", ""},
		{"[::]:9090", "", ""},
		{":9090", "", ""},
		{"localhost:9090", "", ""},
		{"192.168.1.1:9090", "", ""},
		{"[::ffff:10.0.0.1]:9090", "", ""},
		{"[fe80::1%lo]:9090", "", ""},
		{"127.0.0.1", "", ""},
		{"unix:admin.sock", "", ""},
		{"unix:/run/../etc/x", "", ""},
		{"unix:", "", ""},
		{"unix:@abstract", "", ""},
		{"unix:/" + fmt.Sprintf("%0103d", 0), "", ""},
		{"tcp://127.0.0.1:9090", "", ""},
		{"", "", ""},
	} {
		t.Run(c.in, func(t *testing.T) {
			a, err := ParseAdminAddress(c.in)
			if (err == nil) != (c.network != "") {
				t.Fatalf("error = %v", err)
			}
			if err == nil && (a.Network() != c.network || a.Text() != c.text || a.IsZero()) {
				t.Errorf("listens on %s %s", a.Network(), a.Text())
			}
			if err != nil && !a.IsZero() {
				t.Errorf("refused, yet %v", a)
			}
		})
	}
}

func TestServerHostName(t *testing.T) {
	for _, c := range []struct {
		name, in string
		v        value
		ok       bool
	}{
		{"server by name", "xmpp.example.com:5347", new(Server), true},
		{"server by IPv6", "[::1]:5347", new(Server), true},
		{"server without port", "127.0.0.1", new(Server), false},
		{"server with parameter", "127.0.0.1:5347;name=x.example", new(Server), false},
		{"host", "gateway.example.net", new(Host), true},
		{"host by address", "192.0.2.1", new(Host), true},
		{"host with port", "gateway.example.net:5060", new(Host), false},
		{"host with parameter", "gateway.example.net;transport=tcp", new(Host), false},
		{"host with line break", "a\r\nVia: x", new(Host), false},
		{"name", "example-net_1.a", new(Name), true},
		{"name with blank", "a b", new(Name), false},
		{"name too long", fmt.Sprintf("%064d", 0), new(Name), false},
		{"variable", "ISTHMUS_SECRET", new(EnvName), true},
		{"variable with digit first", "1A", new(EnvName), false},
		{"path with NUL", "a\x00b", new(Path), false},
		{"domain with U-label", "bücher.example", new(Domain), true},
		{"domain, last dot", "Example.NET.", new(Domain), true},
		{"domain is an address", "127.0.0.1", new(Domain), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if fault := c.v.parse(c.in); (fault == nil) != c.ok {
				t.Errorf("parse(%q) = %v", c.in, fault)
			}
		})
	}
}

// Every default and bound in a tag is a value of its type, the default within the bounds, and every field has a kind that the
// decoder reads.
func TestDefaults(t *testing.T) {
	var visit func(typ reflect.Type, path string)
	visit = func(typ reflect.Type, path string) {
		for i := range typ.NumField() {
			f, ok := fieldOf(typ.Field(i))
			if !ok {
				continue
			}
			at, ft := join(path, f.key), typ.Field(i).Type
			if ft.Kind() == reflect.Slice {
				ft = ft.Elem()
			}
			v := reflect.New(ft).Interface()
			w, isValue := v.(value)
			switch {
			case isValue:
				q, isQuantity := v.(quantity)
				if isQuantity != (f.min != "" && f.max != "") {
					t.Errorf("%s: a quantity, and only a quantity, has min and max", at)
				}
				var seen []int64
				for _, text := range []string{f.min, f.def, f.max} {
					if text == "" {
						continue
					}
					if fault := w.parse(text); fault != nil {
						t.Errorf("%s: %q: %v", at, text, fault)
					}
					if isQuantity {
						seen = append(seen, q.quantity())
					}
				}
				if len(seen) == 3 && (seen[0] > seen[1] || seen[1] > seen[2]) {
					t.Errorf("%s: the default %s is not within %s and %s", at, f.def, f.min, f.max)
				}
			case ft.Kind() == reflect.Struct:
				visit(ft, at)
			case ft.Kind() != reflect.String || len(f.oneof) == 0:
				t.Errorf("%s: %s cannot be read", at, ft)
			}
		}
	}
	visit(reflect.TypeFor[Config](), "")
}

func TestNearest(t *testing.T) {
	known := []string{"listeners", "peers", "t1", "address", "secret_file"}
	for _, c := range []struct{ in, want string }{
		{"listener", "listeners"},
		{"lisetners", "listeners"},
		{"Peers", "peers"},
		{"secretfile", "secret_file"},
		{"secret-file", "secret_file"},
		{"addr", "address"},
		{"t9", ""},
		{"x", ""},
		{"", ""},
		{"something else that is quite long, longer than any key", ""},
	} {
		if got := nearest(c.in, known); got != c.want {
			t.Errorf("nearest(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}
