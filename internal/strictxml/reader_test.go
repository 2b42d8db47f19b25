package strictxml

import "testing"

// checkConsistent checks what holds for all input: a Cursor that steps and
// one that skips agree with ParseDocument, and what is accepted prints and
// parses to the same tree.
func checkConsistent(tb testing.TB, doc []byte) {
	tb.Helper()
	e, err := ParseDocument(doc, Limits{})
	var step, skip Cursor
	step.ResetDocument(doc, Limits{})
	var stepErr error
	for {
		kind, err := step.Next()
		if stepErr = err; kind == End {
			break
		}
		step.Text()
		step.Name()
		for i := range step.AttrCount() {
			step.AttrAt(i)
		}
	}
	skip.ResetDocument(doc, Limits{})
	_, skipErr := skip.Next()
	var raw []byte
	if skipErr == nil {
		raw, skipErr = skip.Skip()
	}
	if err != nil {
		if stepErr == nil || stepErr.Error() != err.Error() || skipErr == nil || skipErr.Error() != err.Error() {
			tb.Fatalf("%q: ParseDocument %v, Next %v, Skip %v", doc, err, stepErr, skipErr)
		}
		return
	}
	if stepErr != nil || skipErr != nil {
		tb.Fatalf("%q: ParseDocument accepts, Next %v, Skip %v", doc, stepErr, skipErr)
	}
	if e.Raw != string(raw) {
		tb.Fatalf("%q: Raw %q, Skip %q", doc, e.Raw, raw)
	}
	want := printTree(e)
	// What is pasted elsewhere is the same there.
	pasted := e.AppendSelfContained([]byte("<x xmlns='other' xmlns:p='other' xmlns:a='other'>"))
	pasted = append(pasted, "</x>"...)
	parent, err := ParseDocument(pasted, Limits{Depth: 33, Attributes: 128, Bytes: 1 << 20})
	if err != nil {
		tb.Fatalf("%q: pasted: %v: %q", doc, err, pasted)
	}
	if got := printTree(parent.Nodes[0].Element); got != want {
		tb.Fatalf("%q\npasted %q\ngot  %q\nwant %q", doc, pasted, got, want)
	}
	// So is each part of it.
	for child := range e.Children() {
		again, err := ParseElement(child.AppendSelfContained(nil), nil, Limits{Attributes: 128, Bytes: 1 << 20})
		if err != nil {
			tb.Fatalf("%q: child %q: %v", doc, child.Raw, err)
		}
		if got, want := printTree(again), printTree(child); got != want {
			tb.Fatalf("%q: child\ngot  %q\nwant %q", doc, got, want)
		}
	}
	// What is written anew from the values is the same, but for attributes
	// with prefixes, which a Writer does not make up.
	var w Writer
	w.Reset(nil, "other")
	writeAnew(&w, e)
	if err := w.Err(); err != nil {
		tb.Fatalf("%q: writing: %v", doc, err)
	}
	again, err := ParseElement(w.Bytes(), mustScope(nil, "", "other"), Limits{Attributes: 128, Bytes: 1 << 24, NameBytes: 1 << 20})
	if err != nil {
		tb.Fatalf("%q: written %q: %v", doc, w.Bytes(), err)
	}
	if got := printTree(again); got != want {
		tb.Fatalf("%q\nwritten %q\ngot  %q\nwant %q", doc, w.Bytes(), got, want)
	}
}

// writeAnew writes an element by its values, with a prefix declared for each
// attribute that needs one.
func writeAnew(w *Writer, e *Element) {
	w.Start(e.Name)
	for _, a := range e.Attrs {
		if a.Name.Space != "" && a.Name.Space != XMLNamespace {
			prefix := "n" + string(rune('a'+w.Depth()%26)) + hex(a.Name.Space)
			w.Declare(prefix, a.Name.Space)
		}
	}
	for _, a := range e.Attrs {
		w.AttrNS(a.Name, a.Value)
	}
	for _, n := range e.Nodes {
		if n.Element != nil {
			writeAnew(w, n.Element)
		} else {
			w.Text(n.Text)
		}
	}
	w.End()
}

// hex makes a name of any string.
func hex(s string) string {
	const digits = "0123456789abcdef"
	var b []byte
	for i := range len(s) {
		b = append(b, digits[s[i]>>4], digits[s[i]&15])
	}
	return string(b)
}

func mustScope(outer *Scope, prefix, uri string) *Scope {
	s, ok := NewScope(outer, prefix, uri)
	if !ok {
		panic("not a declaration: " + prefix + "=" + uri)
	}
	return s
}

// The worst that fits in the limits stays far from quadratic: 128 prefixes in
// force, and names that use the outermost, in 256 KiB.
func BenchmarkCursorManyPrefixes(b *testing.B) {
	var doc []byte
	for i := range 2 {
		doc = append(doc, "<a"...)
		for j := range 64 {
			doc = append(doc, " xmlns:"...)
			doc = append(doc, 'a'+byte(i), 'a'+byte(j/26), 'a'+byte(j%26))
			doc = append(doc, "='u'"...)
		}
		doc = append(doc, '>')
	}
	for len(doc) < 240<<10 {
		doc = append(doc, "<a>"...)
		for range 900 {
			doc = append(doc, "<aaa:a/>"...)
		}
		doc = append(doc, "</a>"...)
	}
	doc = append(doc, "</a></a>"...)
	b.ReportAllocs()
	b.SetBytes(int64(len(doc)))
	var c Cursor
	for b.Loop() {
		c.Reset(doc, nil, Limits{})
		if _, err := c.Next(); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Skip(); err != nil {
			b.Fatal(err)
		}
	}
}
