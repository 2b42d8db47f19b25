package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

const reloadBase = `
sip:
  listeners: [{transport: udp, address: "127.0.0.1:0"}, {transport: ws, address: "127.0.0.1:0"}]
  peers: [{name: p, networks: [192.0.2.0/24], domains: [example.net]}]
xmpp:
  components: [{name: c, server: "127.0.0.1:1", domain: example.net, serves: [example.com], secret_env: SECRET}]
  server: {domains: [example.org], listeners: [{address: "127.0.0.1:0"}], dialback: tls}
routes:
  - {domain: example.net, via: sip, next_hops: ["sip:127.0.0.1:5070"]}
  - {domain: example.org, via: sip, next_hops: ["sip:127.0.0.1:5070"]}
  - {domain: example.com, via: xmpp, next_hops: ["component:c"]}
  - {domain: "*", via: xmpp}
dns: {servers: ["127.0.0.1:1"]}
tls: {roots_file: ROOTS}
log: {level: info}
`

// another is another value for keys that a number, a switch or a word is not the value of: what is to be replaced in reloadBase, and by what.
// A key that is part of an entry of a list is changed with the list.
func another(files map[string]string) map[string][2]string {
	nodes := `store: {directory: /nowhere, cluster: {node: a, listen: "127.0.0.1:4", chain_file: CHAIN, key_file: KEY, roots_file: ROOTS, nodes: [` +
		`{name: a, address: "127.0.0.1:1"}, {name: b, address: "127.0.0.1:2"}, {name: c, address: "127.0.0.1:3"}]}}` + "\nlog:"
	servers := `store: {cluster: {node: a, urls: ["nats://127.0.0.1:1"], credentials_file: SECRETFILE}}` + "\nlog:"
	return map[string][2]string{
		"sip.listeners":                    {"sip:\n  listeners: [", "sip:\n  listeners: [{transport: tcp, address: \"127.0.0.1:0\"}, "},
		"sip.peers":                        {"peers: [{name: p,", "peers: [{name: q, networks: [198.51.100.0/24], domains: [example.net]}, {name: p, fold_case: true,"},
		"sip.signers":                      {"sip:\n", "sip:\n  signers: [{info: \"https://cert.example.net/x\", certificate_file: SIGNER}]\n"},
		"sip.published":                    {"sip:\n", "sip:\n  published: [{domain: example.net, authorize: everyone}]\n"},
		"sip.publish_to":                   {"sip:\n", "sip:\n  publish_to: [{peer: p, to: \"sip:127.0.0.1:5070\", as: presence@example.net}]\n"},
		"sip.advertise":                    {"sip:\n", "sip:\n  advertise: other.example\n"},
		"xmpp.components":                  {"serves: [example.com]", "serves: [example.com, more.example]"},
		"xmpp.server.domains":              {"domains: [example.org]", "domains: [example.org, more.example]"},
		"xmpp.server.gateway":              {"listeners: [{address", "gateway: gw.example, hosts: [example.net], listeners: [{address"},
		"xmpp.server.hosts":                {"listeners: [{address", "gateway: gw.example, hosts: [example.net], listeners: [{address"},
		"xmpp.server.listeners":            {"listeners: [{address: \"127.0.0.1:0\"}]", "listeners: [{address: \"127.0.0.1:0\"}, {address: \"[::1]:0\", tls: direct}]"},
		"xmpp.server.dialback_secret_env":  {"dialback: tls", "dialback: tls, dialback_secret_env: SECRET"},
		"xmpp.server.dialback_secret_file": {"dialback: tls", "dialback: tls, dialback_secret_file: SECRETFILE"},
		"xmpp.server.peers":                {"dialback: tls", "dialback: tls, peers: [{domain: old.example, authentication: certificate}]"},
		"routes":                           {"5070", "5071"},
		"policy.rules":                     {"log:", "policy: {rules: [{name: r, from: [example.com]}]}\nlog:"},
		"policy.tenants":                   {"log:", "policy: {tenants: [{name: t, domains: [example.com]}]}\nlog:"},
		"policy.signature_roots_file":      {"log:", "policy: {signature_roots_file: ROOTS}\nlog:"},
		"policy.blocked_files":             {"log:", "policy: {blocked_files: [BLOCKED]}\nlog:"},
		"store.directory":                  {"log:", "store: {directory: /nowhere}\nlog:"},
		"store.cluster.node":               {"log:", nodes},
		"store.cluster.nodes":              {"log:", nodes},
		"store.cluster.listen":             {"log:", nodes},
		"store.cluster.chain_file":         {"log:", nodes},
		"store.cluster.key_file":           {"log:", nodes},
		"store.cluster.roots_file":         {"log:", nodes},
		"store.cluster.urls":               {"log:", servers},
		"store.cluster.credentials_file":   {"log:", servers},
		"dns.servers":                      {"127.0.0.1:1\"]", "127.0.0.1:2\"]"},
		"dns.allow":                        {"dns: {", "dns: {allow: [10.0.0.0/8], "},
		"tls.certificates":                 {"tls: {", "tls: {certificates: [{name: one, chain_file: CHAIN, key_file: KEY}], "},
		"tls.roots_file":                   {"ROOTS", "OTHER"},
		"admin.listen":                     {"log:", "admin: {listen: \"127.0.0.1:0\"}\nlog:"},
	}
}

// T-AD-03, T-FI-22: what the reference says of each key is true. A gateway that is reloaded with another value of a live key works with what one
// that is started with it works with, and of a key that needs a restart it works with the old value, and says so.
func TestT_FI_22_EveryKey(t *testing.T) {
	ca, other := certstest.NewCA(t), certstest.NewCA(t)
	pair := ca.Issue(certstest.Spec{DNS: []string{"example.org"}}).WriteFiles(t.TempDir())
	folder := t.TempDir()
	files := map[string]string{
		"ROOTS": ca.WriteRoot(t.TempDir()), "OTHER": other.WriteRoot(t.TempDir()), "CHAIN": pair.Chain, "KEY": pair.Key,
		"SIGNER":     ca.Issue(certstest.Spec{DNS: []string{"example.net"}}).WriteFiles(t.TempDir()).Chain,
		"SECRETFILE": filepath.Join(folder, "secret"), "BLOCKED": filepath.Join(folder, "blocked"),
	}
	for name, text := range map[string]string{"SECRETFILE": "dialback", "BLOCKED": "bad.example\n"} {
		if err := os.WriteFile(files[name], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parse := func(text string) *configs.Config {
		t.Helper()
		for name, file := range files {
			text = strings.ReplaceAll(text, name, file)
		}
		text = strings.ReplaceAll(text, "secret_env: "+"SECRET", "secret_env: S")
		name := filepath.Join(folder, "isthmus.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := configs.Load(name, func(string) (string, bool) { return "secret", true })
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	with := surroundings{logger: zerolog.Nop(), registry: prometheus.NewRegistry()}
	base := parse(reloadBase)
	a, err := assemble(base, with)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := a.shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := a.close(); err != nil {
			t.Error(err)
		}
	}()
	_, level := newLogger(os.Stderr, base.Log)
	next := base
	r, err := newReloader(a, func() (*configs.Config, error) { return next, nil }, level, with)
	if err != nil {
		t.Fatal(err)
	}
	fresh := func(c *configs.Config) string {
		t.Helper()
		b, err := assemble(c, surroundings{logger: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		defer b.close() //nolint:errcheck // it was not started
		_, level := newLogger(os.Stderr, c.Log)
		return fingerprint(b, level)
	}
	before := fingerprint(a, level)
	if f := fresh(base); f != before {
		t.Fatalf("the comparison itself: %s", difference(before, f))
	}
	words := another(files)
	walkKeys(reflect.TypeFor[configs.Config](), "", "", nil, func(path, mode string, index []int, f reflect.StructField) {
		t.Run(path, func(t *testing.T) {
			if w, ok := words[path]; ok {
				text := strings.Replace(reloadBase, w[0], w[1], 1)
				if strings.Contains(text, "more.example") {
					text = strings.Replace(text, "routes:\n", "routes:\n  - {domain: more.example, via: "+map[bool]string{true: "xmpp, next_hops: [\"component:c\"]", false: "sip, next_hops: [\"sip:127.0.0.1:5070\"]"}[path == "xmpp.components"]+"}\n", 1)
				}
				next = parse(text)
			} else {
				c := *base
				if !vary(reflect.ValueOf(&c).Elem().FieldByIndex(index), f) {
					t.Fatal("no other value is known: write one into another")
				}
				next = &c
			}
			report := r.reload(t.Context())
			defer func() {
				next = base
				if report := r.reload(t.Context()); report.Outcome != reloadApplied || fingerprint(a, level) != before {
					t.Fatalf("back again: %+v: %s", report, difference(before, fingerprint(a, level)))
				}
			}()
			got, want, in := fingerprint(a, level), before, report.Pending
			if mode == "live" {
				in = report.Changed
				if want = fresh(next); want == before {
					t.Fatal("it makes no difference, by what this test looks at")
				}
			}
			if report.Outcome == reloadRefused || !slices.ContainsFunc(in, func(k string) bool { return k == path || strings.HasPrefix(path, k) }) {
				t.Errorf("%+v", report)
			}
			if got != want {
				t.Errorf("not as it says (%s): %s", mode, difference(got, want))
			}
		})
	})
}

// walkKeys calls f for each key that is not itself a section. Lists are keys.
func walkKeys(v reflect.Type, path, mode string, index []int, f func(path, mode string, index []int, field reflect.StructField)) {
	for i := range v.NumField() {
		field := v.Field(i)
		key := field.Tag.Get("yaml")
		if key == "" || key == "-" {
			continue
		}
		at, mode, index := strings.TrimPrefix(path+"."+key, "."), mode, append(slices.Clone(index), i)
		if tag := field.Tag.Get("reload"); tag != "" {
			mode = tag
		}
		if section := field.Type.Kind() == reflect.Struct && slices.ContainsFunc(reflect.VisibleFields(field.Type), func(s reflect.StructField) bool { return s.Tag.Get("yaml") != "" }); section {
			walkKeys(field.Type, at, mode, index, f)
			continue
		}
		f(at, mode, index, field)
	}
}

// vary gives a number, a switch or a word another value.
func vary(v reflect.Value, f reflect.StructField) bool {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		if f.Tag.Get("default") == f.Tag.Get("max") {
			v.SetInt(v.Int() - 1)
		} else {
			v.SetInt(v.Int() + 1)
		}
	case reflect.String:
		for word := range strings.FieldsSeq(f.Tag.Get("oneof")) {
			if word != v.String() {
				v.SetString(word)
				return true
			}
		}
		return false
	default:
		return false
	}
	return true
}

// fingerprint is what the parts of a gateway work with: the snapshots that they read, and the bounds that were taken from them.
func fingerprint(a *assembly, level *levelSampler) string {
	d := &dumper{}
	d.dump("gateway", peek(a.gateway, "now"))
	for _, at := range []string{"lanes.perLane", "lanes.inAll", "origins.bounds", "duplicates.bounds", "repeats.most", "watches.lanes.perLane", "watches.lanes.inAll"} {
		d.dump("gateway."+at, peek(a.gateway, at))
	}
	d.dump("sip", peek(a.sip, "now"))
	d.dump("sip.tuning", peek(a.sip, "layer.tuning"))
	bind := peek(a.sip, "layer.open.bind")
	if bind.Len() == 0 { // not started
		bind = peek(a.sip, "layer.bind")
	}
	d.dump("sip.bind", bind)
	for _, at := range []string{"sentBy", "timerN", "publishers.servers"} {
		d.dump("sip."+at, peek(a.sip, at))
	}
	d.dump("xmpp", peek(a.xmpp, "now"))
	d.dump("xmpp.servers", peek(a.xmpp, "servers.now"))
	d.dump("xmpp.queue", peek(a.xmpp, "servers.waiting.most"))
	d.dump("certs", peek(a.certs, "current.sources"))
	d.dump("certs.roots", peek(a.certs, "current.rootsFile"))
	d.dump("guard", peek(a.guard, "allow"))
	d.dump("admission", peek(a.admission, "cap"))
	// What is read from the configuration itself when it is needed.
	running := a.running.Load()
	fmt.Fprintf(&d.b, "drain %v\nreadable %v\nlevel %v\ndns %v\n", running.Limits.Drain, running.Store.Readable, level.least.Load(), running.DNS.Servers)
	return d.b.String()
}

// open makes the value of an unexported field usable.
func open(v reflect.Value) reflect.Value {
	if v.CanAddr() {
		return reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
	}
	return v
}

// through follows pointers and atomic values.
func through(v reflect.Value) reflect.Value {
	for {
		v = open(v)
		switch {
		case v.Kind() == reflect.Pointer && !v.IsNil():
			v = v.Elem()
		case v.Type().PkgPath() == "sync/atomic" && v.CanAddr():
			v = v.Addr().MethodByName("Load").Call(nil)[0]
			if v.Kind() != reflect.Pointer {
				return v
			}
		default:
			return v
		}
	}
}

func peek(root any, path string) reflect.Value {
	v := through(reflect.ValueOf(root))
	for name := range strings.SplitSeq(path, ".") {
		v = through(v.FieldByName(name))
	}
	return v
}

type dumper struct{ b strings.Builder }

// apart are types that hold what is counted or learnt, or who works, and are no settings.
var apart = []string{"sip.pass", "zerolog.Logger", "gateway.side", "xmpp.Adapter", "xmpp.outbox", "resolver.Resolver", "certs.Store", "tls.Config", "maphash.Seed", "policy.Meter", "context.cancelCtx", "sync.Mutex", "time.Time", "xmpp.wake"}

func (d *dumper) dump(path string, v reflect.Value) {
	if strings.Count(path, ".") > 24 {
		panic(path)
	}
	if v = open(v); !v.IsValid() {
		return
	}
	name := v.Type().String()
	if slices.ContainsFunc(apart, func(s string) bool { return strings.TrimPrefix(name, "*") == s }) {
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			d.dump(path, v.Elem())
		}
	case reflect.Struct:
		if v.Type().PkgPath() == "sync/atomic" {
			if v.CanAddr() {
				d.dump(path, through(v))
			}
			return
		}
		if !v.CanAddr() {
			c := reflect.New(v.Type()).Elem()
			c.Set(v)
			v = c
		}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			switch {
			case name == "xmpp.link" && f.Name != "now", name == "gateway.brake" && f.Name != "rate" && f.Name != "burst", f.Name == "decoy",
				name == "xmpp.serverSide" && f.Name == "secret":
				continue
			}
			d.dump(path+"."+f.Name, v.Field(i))
		}
	case reflect.Map:
		var keys []string
		at := map[string]reflect.Value{}
		for _, k := range v.MapKeys() {
			s := fmt.Sprint(k)
			keys, at[s] = append(keys, s), v.MapIndex(k)
		}
		sort.Strings(keys)
		for _, k := range keys {
			d.dump(path+"["+strings.ReplaceAll(k, ".", "_")+"]", at[k])
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			d.dump(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
	default:
		fmt.Fprintf(&d.b, "%s = %v\n", path, v)
	}
}

// difference is what is in one text and not in the other.
func difference(a, b string) string {
	var out []string
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for _, l := range x {
		if !slices.Contains(y, l) {
			out = append(out, "- "+l)
		}
	}
	for _, l := range y {
		if !slices.Contains(x, l) {
			out = append(out, "+ "+l)
		}
	}
	if len(out) > 20 {
		out = append(out[:20], "…")
	}
	return "\n" + strings.Join(out, "\n")
}
