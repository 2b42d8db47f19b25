package rules

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// layer says what the packages in and below a folder may import of ours. An entry of imports that ends in /… means the folder
// and all below it; one without means that package alone.
type layer struct {
	folder  string
	imports []string
}

// layers is the picture of docs/architecture.md; the first folder that fits decides. A third protocol is one more line.
var layers = []layer{
	// What a content is to a person speaks the words of the boundary, and both adapters ask it.
	{"internal/mimebody", []string{"adapters", "cpim/…", "internal/…"}},
	// A certificate names its user by a JID too, and presence is signed like a message.
	{"internal/smime", []string{"adapters", "adapters/xmpp/jid", "cpim/…", "pidf", "internal/…"}},
	{"internal", []string{"internal/…"}},
	{"cpim", []string{"cpim/…", "internal/…"}},
	{"pidf", []string{"pidf/…", "cpim/…", "internal/…"}},
	{"resolver", []string{"resolver/…", "cpim/…", "internal/…"}},
	{"adapters/sip", []string{"adapters/sip/…", "adapters", "cpim/…", "pidf/…", "resolver", "internal/…"}},
	{"adapters/xmpp", []string{"adapters/xmpp/…", "adapters", "cpim/…", "pidf/…", "resolver", "internal/…"}},
	{"adapters", []string{"adapters", "cpim/…", "pidf/…", "resolver"}},
	{"gateway", []string{"gateway/…", "adapters", "cpim/…", "pidf/…", "resolver", "internal/…"}},
	{"configs", []string{"configs/…", "adapters", "cpim", "resolver", "gateway/policy", "internal/secret"}},
	{"cmd", []string{"…"}},
	{"integration", []string{"…"}},
}

// foreign says who may import a module that is not ours, tests apart from the rest.
var foreign = []struct {
	module string
	code   []string // folders; in and below
	tests  []string // folders for test files, beside those of code
	why    string
}{
	{"github.com/miekg/dns", []string{"resolver"}, nil, "DNS is the resolver's alone"},
	{"github.com/emiago/sipgo", []string{"integration", "cmd/isthmus"}, []string{"adapters/sip"}, "sipgo is an independent peer in demo and tests"},
	{"gosrc.io/xmpp", []string{"integration", "cmd/isthmus"}, []string{"adapters/xmpp"}, "gosrc.io/xmpp is an independent peer in demo and tests"},
	{"github.com/nats-io", []string{"gateway/store"}, []string{"integration"}, "the engine is the store's alone"},
	{"go.yaml.in/yaml", []string{"configs"}, []string{"integration", "cmd"}, "only the configuration is YAML"},
	{"github.com/smallstep/pkcs7", []string{"internal/smime"}, nil, "CMS of strangers is read in one place, behind its bounds"},
	{"github.com/alecthomas/kong", []string{"cmd"}, nil, "flags belong to the command line"},
	{"log", []string{"internal/admin"}, nil, "a zerolog.Logger comes in the constructor"},
	{"log/slog", []string{"integration", "cmd"}, []string{"adapters/sip"}, "a zerolog.Logger comes in the constructor"},
	{"github.com/rs/zerolog/log", nil, nil, "a zerolog.Logger comes in the constructor"},
	{"encoding/xml", []string{"integration"}, []string{"adapters", "cpim", "pidf", "gateway", "internal"}, "XML is read by internal/strictxml"},
	{"reflect", []string{"configs", "cmd", "integration"}, []string{"."}, "there is no reflection on the message path"},
	{"net/http/pprof", nil, nil, "profiles are not served"},
	{"math/rand", nil, nil, "use math/rand/v2 with a seed, or crypto/rand"},
	{"io/ioutil", nil, nil, "use io and os"},
}

// Imports checks that imports point one way, and that each foreign library stays where it belongs.
func Imports() Rule { return Rule{"imports", checkImports} }

func checkImports(t *Tree, r *report) {
	t.goFiles(func(f *File) {
		for _, spec := range f.Syntax.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue
			}
			line := f.at(spec.Pos())
			if ours, ok := strings.CutPrefix(name, module+"/"); ok {
				if !mayImport(f, ours) {
					r.add(f, line, "%s must not import %s (docs/architecture.md, packages and direction)", f.Folder(), ours)
				}
				continue
			}
			for _, lib := range foreign {
				if below(name, lib.module) && !(name != lib.module && stdlib(lib.module)) && !f.in(lib.code...) &&
					!(f.Test() && (slices.Contains(lib.tests, ".") || f.in(lib.tests...))) {
					r.add(f, line, "%s must not be imported here: %s", name, lib.why)
				}
			}
		}
	})
}

// stdlib reports whether name is the standard library's, where a package below another is another matter.
func stdlib(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	return !strings.Contains(first, ".")
}

func mayImport(f *File, ours string) bool {
	// A test may also use the packages made for tests: their names end in "test", and they are bound by the layers themselves.
	if f.Test() && (strings.HasSuffix(path.Base(ours), "test") || ours == f.Folder()) {
		return true
	}
	for _, l := range layers {
		if !f.in(l.folder) {
			continue
		}
		for _, allowed := range l.imports {
			folder, tree := strings.CutSuffix(allowed, "/…")
			if allowed == "…" || ours == folder || tree && below(ours, folder) {
				return true
			}
		}
		return false
	}
	return false
}
