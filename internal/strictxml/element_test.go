package strictxml

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func mustElement(t *testing.T, raw string, scope *Scope) *Element {
	t.Helper()
	e, err := ParseElement([]byte(raw), scope, Limits{})
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return e
}

func TestElementAccess(t *testing.T) {
	scope := mustScope(nil, "", "jabber:client")
	e := mustElement(t, `<message xml:lang='en' to="a&amp;b"> one<body/>two`+"\r\n"+`<body xml:lang='de'>three<i/>&lt;</body><![CDATA[ four]]><x:y xmlns:x='u' x:z='1' z='2'/></message>`, scope)
	if e.Name != (Name{"jabber:client", "message"}) {
		t.Errorf("name %v", e.Name)
	}
	if got, ok := e.Attr("", "to"); got != "a&b" || !ok {
		t.Errorf("to %q", got)
	}
	if _, ok := e.Attr("u", "to"); ok {
		t.Error("attribute in another namespace found")
	}
	if got := e.Text(); got != " onetwo\n four" {
		t.Errorf("text %q", got)
	}
	first := e.Child("jabber:client", "body")
	var bodies []*Element
	for c := range e.Children() {
		if c.Name.Local == "body" {
			bodies = append(bodies, c)
		}
	}
	if len(bodies) != 2 || bodies[0] != first || first.Lang() != "en" || bodies[1].Lang() != "de" {
		t.Errorf("bodies %v", bodies)
	}
	if got := bodies[1].Text(); got != "three<" || bodies[1].Nodes[1].Element.Lang() != "de" {
		t.Errorf("second body %q", got)
	}
	y := e.Child("u", "y")
	if y == nil || y.Prefix() != "x" || y.Raw != "<x:y xmlns:x='u' x:z='1' z='2'/>" || e.Raw[y.Offset:y.Offset+len(y.Raw)] != y.Raw {
		t.Errorf("y %+v", y)
	}
	if want := []Attr{{Name{"u", "z"}, "1"}, {Name{"", "z"}, "2"}}; !slices.Equal(y.Attrs, want) {
		t.Errorf("attributes %v", y.Attrs)
	}
	if e.Child("", "body") != nil {
		t.Error("child in no namespace found")
	}
	if got := bodies[1].ContentOffset(); !strings.HasPrefix(e.Raw[got:], "three") {
		t.Errorf("content at %d", got)
	}
	if len(e.Nodes) != 6 || e.Nodes[2].Text != "two\n" {
		t.Errorf("nodes %+v", e.Nodes)
	}
}

// The tree has nothing of the input's memory.
func TestElementOutlivesInput(t *testing.T) {
	raw := []byte(benchRich)
	e := mustElement(t, string(raw), nil)
	in, err := ParseElement(raw, nil, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	clear(raw)
	if printTree(in) != printTree(e) || in.Raw != benchRich {
		t.Error("the tree changed with the input")
	}
}

func TestAppendSelfContained(t *testing.T) {
	scope := mustScope(mustScope(mustScope(nil, "", "jabber:client"), "p", "urn:p'&<"), "unused", "urn:unused")
	for _, tt := range []struct{ name, raw, child, want string }{
		{"default inherited", "<a><b/></a>", "b", "<b xmlns='jabber:client'/>"},
		{"default declared", "<a><b xmlns='u'/></a>", "b", "<b xmlns='u'/>"},
		{"default undeclared around", "<a xmlns=''><b/></a>", "b", "<b xmlns=''/>"},
		{"default undeclared on it", "<a><b xmlns=''/></a>", "b", "<b xmlns=''/>"},
		{"prefix on the element", "<a><p:b/></a>", "b", "<p:b xmlns='jabber:client' xmlns:p='urn:p&apos;&amp;&lt;'/>"},
		{"prefix on an attribute below", "<a xmlns=''><q:b xmlns:q='u'><q:c p:d='e'/></q:b></a>", "b", "<q:b xmlns:p='urn:p&apos;&amp;&lt;' xmlns:q='u'><q:c p:d='e'/></q:b>"},
		{"prefix in a value", "<a xmlns:s='urn:s'><b type='s:string'/></a>", "b", "<b xmlns='jabber:client' xmlns:s='urn:s' type='s:string'/>"},
		{"prefix in text", "<a xmlns:s='urn:s'><b>*/s:c</b></a>", "b", "<b xmlns='jabber:client' xmlns:s='urn:s'>*/s:c</b>"},
		{"prefix declared anew", "<a><p:b xmlns:p='v'/></a>", "b", "<p:b xmlns='jabber:client' xmlns:p='v'/>"},
		{"nearest declaration", "<a xmlns:p='v'><p:b/></a>", "b", "<p:b xmlns='jabber:client' xmlns:p='v'/>"},
		{"default shadowed", "<a xmlns='v'><b/></a>", "b", "<b xmlns='v'/>"},
		{"unqualified below", "<a xmlns=''><p:b><c/></p:b></a>", "b", "<p:b xmlns='' xmlns:p='urn:p&apos;&amp;&lt;'><c/></p:b>"},
		{"octets kept", "<a><b  c = \"1\"\n>&#65;<![CDATA[x]]></b ></a>", "b", "<b xmlns='jabber:client'  c = \"1\"\n>&#65;<![CDATA[x]]></b >"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b *Element
			for c := range mustElement(t, tt.raw, scope).Children() {
				b = c
			}
			got := string(b.AppendSelfContained(nil))
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			again := mustElement(t, "<x xmlns='other' xmlns:p='other' xmlns:s='other'>"+got+"</x>", nil).Nodes[0].Element
			if printTree(again) != printTree(b) {
				t.Errorf("%s is not the same elsewhere", got)
			}
		})
	}
}

func TestAppendSelfContainedByHand(t *testing.T) {
	e := &Element{
		Name:  Name{"u", "a"},
		Attrs: []Attr{{Name{"", "b"}, "'\"\n"}, {Name{XMLNamespace, "lang"}, "en"}},
		Nodes: []Node{{Text: "<"}, {Element: &Element{Name: Name{"", "c"}}}, {Element: &Element{Name: Name{"u", "d"}}}},
	}
	want := `<a xmlns='u' b='&apos;&quot;&#10;' xml:lang='en'>&lt;<c xmlns=''/><d/></a>`
	if got := string(e.AppendSelfContained(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := string((&Element{Name: Name{"", "a"}}).AppendSelfContained(nil)); got != "<a xmlns=''/>" {
		t.Errorf("in no namespace: %s", got)
	}
}

// RFC 5261 §4.2: prefixes in a selector are those in force where it stands.
func TestElementScope(t *testing.T) {
	e := mustElement(t, "<a xmlns:p='u'><b xmlns:p='v' xmlns='w'/></a>", nil)
	b := e.Nodes[0].Element
	for _, tt := range []struct {
		e            *Element
		prefix, want string
	}{{e, "p", "u"}, {e, "", ""}, {b, "p", "v"}, {b, "", "w"}, {b, "q", ""}} {
		if got, _ := tt.e.Scope().Lookup(tt.prefix); got != tt.want {
			t.Errorf("%s: prefix %q is %q, want %q", tt.e.Raw, tt.prefix, got, tt.want)
		}
	}
}

func TestNewScopeRefuses(t *testing.T) {
	for _, tt := range []struct{ prefix, uri string }{
		{"xml", XMLNamespace},
		{"xmlns", "u"},
		{"p", XMLNamespace},
		{"", xmlnsNamespace},
		{"p", ""},
		{"1", "u"},
		{"a:b", "u"},
		{"p", "\x00"},
		{"p", "\xff"},
		{"\xff", "u"},
	} {
		if _, ok := NewScope(nil, tt.prefix, tt.uri); ok {
			t.Errorf("%q=%q accepted", tt.prefix, tt.uri)
		}
	}
}

func TestCursorTokens(t *testing.T) {
	var c Cursor
	c.ResetDocument([]byte("<?xml version='1.0'?>\n<a xmlns='u' b='1&#50;'> <p:c xmlns:p='v'/>x&amp;y</a>\n"), Limits{})
	var got []string
	for {
		kind, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		switch kind {
		case StartElement:
			got = append(got, "<"+c.Name().Space+" "+string(c.Local()))
			for i := range c.AttrCount() {
				got = append(got, c.AttrAt(i).Name.Local+"="+c.AttrAt(i).Value)
			}
		case EndElement:
			got = append(got, ">"+c.Name().Space+" "+c.Name().Local)
		case Text:
			got = append(got, c.Text())
			if c.IsSpace() != (c.Text() == " ") || string(c.TextBytes()) != c.Text() {
				t.Errorf("text %q", c.Text())
			}
		}
		if kind == End {
			break
		}
	}
	if want := []string{"<u a", "b=12", " ", "<v c", ">v c", "x&y", ">u a"}; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if c.Depth() != 0 || c.Name() != (Name{}) || c.Is("u", "a") || c.AttrAt(0) != (Attr{}) || c.TextBytes() != nil {
		t.Error("there is something after the end")
	}
}

func TestCursorSkipAndElement(t *testing.T) {
	const raw = "<a xmlns:p='u'><b><c>x</c></b><p:d e='f'>y</p:d><g/></a>"
	var c Cursor
	c.Reset([]byte(raw), nil, Limits{})
	if _, err := c.Skip(); !errors.Is(err, ErrNotAtElement) {
		t.Errorf("Skip before the start: %v", err)
	}
	for _, step := range []func() error{
		func() error { _, err := c.Next(); return err },
		func() error { _, err := c.Next(); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := c.Skip(); err != nil || string(b) != "<b><c>x</c></b>" {
		t.Fatalf("%s, %v", b, err)
	}
	if _, err := c.Skip(); !errors.Is(err, ErrNotAtElement) {
		t.Errorf("Skip at an end tag: %v", err)
	}
	if _, err := c.Next(); err != nil || !c.Is("u", "d") || !c.InSpace("u") || c.Depth() != 2 {
		t.Fatal(c.Name(), err)
	}
	d, err := c.Element()
	if err != nil || d.Name != (Name{"u", "d"}) || d.Text() != "y" || d.Raw != raw[d.Offset:d.Offset+len(d.Raw)] {
		t.Fatalf("%+v, %v", d, err)
	}
	if got := string(d.AppendSelfContained(nil)); got != "<p:d xmlns:p='u' e='f'>y</p:d>" {
		t.Error(got)
	}
	if _, err := c.Next(); err != nil || !c.Is("", "g") {
		t.Fatal(c.Name(), err)
	}
	if kind, err := c.Next(); kind != EndElement || err != nil || c.Offset() != c.EndOffset() {
		t.Fatal(kind, err)
	}
	if kind, err := c.Next(); kind != EndElement || err != nil || !c.Is("", "a") || c.EndOffset() != len(raw) {
		t.Fatal(kind, err)
	}
	if kind, err := c.Next(); kind != End || err != nil {
		t.Fatal(kind, err)
	}
}

// The zero Cursor is at the end of nothing.
func TestCursorZero(t *testing.T) {
	var c Cursor
	if kind, err := c.Next(); kind != End || err != nil {
		t.Error(kind, err)
	}
}

// A tree in one piece of memory and one in several are the same.
func TestTreeSizes(t *testing.T) {
	for n := range 300 {
		raw := "<a>" + strings.Repeat("x<b c='d' e='f'/>y<g xmlns='h'>/></g>", n) + "</a>"
		e := mustElement(t, raw, nil)
		if len(e.Raw) != len(raw) || len(e.Nodes) != 4*n && n > 0 && len(e.Nodes) != 3*n+1 {
			t.Fatalf("%d: %d nodes", n, len(e.Nodes))
		}
		if again := mustElement(t, string(e.AppendSelfContained(nil)), nil); printTree(again) != printTree(e) {
			t.Fatalf("%d: not the same", n)
		}
	}
}
