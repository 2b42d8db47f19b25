package configs

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Every key says what a reload makes of it, by itself or by the key that it stands under, and nothing in a list needs a restart: lists are
// taken on whole.
func TestEveryKeySaysWhatAReloadDoes(t *testing.T) {
	var walk func(v reflect.Type, path, mode string, inList bool)
	walk = func(v reflect.Type, path, mode string, inList bool) {
		for i := range v.NumField() {
			f := v.Field(i)
			key, ok := fieldOf(f)
			if !ok {
				continue
			}
			at, mode := strings.TrimPrefix(path+"."+key.key, "."), mode
			if tag := f.Tag.Get("reload"); tag != "" {
				if mode = tag; tag != reloadLive && tag != reloadRestart {
					t.Errorf("%s: %q", at, tag)
				}
				if inList {
					t.Errorf("%s: in a list, which is one key for a reload", at)
				}
			}
			switch {
			case isSection(f.Type):
				walk(f.Type, at, mode, inList)
			case f.Type.Kind() == reflect.Slice && isSection(f.Type.Elem()):
				walk(f.Type.Elem(), at, mode, true)
			case mode == "":
				t.Errorf("%s does not say what a reload does", at)
			}
		}
	}
	walk(reflect.TypeFor[Config](), "", "", false)
}

func TestRenew(t *testing.T) {
	const base = `
sip:
  listeners: [{transport: udp, address: "127.0.0.1:5060"}]
  peers: [{name: p, networks: [127.0.0.1/32], domains: [example.net]}]
xmpp:
  components: [{name: c, server: "127.0.0.1:5347", domain: example.net, serves: [example.com], secret_env: S}]
routes:
  - {domain: example.net, via: sip, next_hops: ["sip:127.0.0.1:5070"]}
  - {domain: example.com, via: xmpp, next_hops: ["component:c"]}
`
	load := func(t *testing.T, text, secret string) *Config {
		t.Helper()
		c, err := Parse("isthmus.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.ReadSecrets("", environment("S", secret)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, c := range []struct {
		name, text, secret string
		changed, pending   string
	}{
		{"nothing", base, "s", "", ""},
		{"a comment", "# comment\n" + base, "s", "", ""},
		{"a default written out", base + "log: {level: info}\n", "s", "", ""},
		{"a live key", base + "log: {level: debug}\nlimits: {messages: {lane: 7}}\n", "s", "log.level limits.messages.lane", ""},
		{"a restart key", base + "store: {directory: /var/lib/isthmus}\n", "s", "", "store.directory"},
		{"both", base + "store: {directory: /var/lib/isthmus, readable: true}\n", "s", "store.readable", "store.directory"},
		{"in a list", strings.Replace(base, "5070", "5071", 1), "s", "routes", ""},
		{"a secret alone", base, "other", "xmpp.components", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			running, next := load(t, base, "s"), load(t, c.text, c.secret)
			directory := next.Store.Directory
			r, err := Renew(running, next)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(r.Changed, " "); got != c.changed {
				t.Errorf("changed: %q", got)
			}
			if got := strings.Join(r.Pending, " "); got != c.pending {
				t.Errorf("pending: %q", got)
			}
			if r.Config.Store.Directory != "" || next.Store.Directory != directory {
				t.Error("the store's directory is not the old one, or was changed in the configuration that was read")
			}
			again, err := Renew(r.Config, next)
			if err != nil || len(again.Changed) > 0 || !slices.Equal(again.Pending, r.Pending) {
				t.Errorf("the same again: %+v, %v", again, err)
			}
		})
	}
}
