package configs

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// value is a type of this package that is written as one word in the file. parse gets the word and sets the value.
type value interface {
	parse(text string) *valueFault
}

// quantity is a value that bounds apply to.
type quantity interface {
	quantity() int64
	String() string
}

// decoder fills a Config from YAML nodes and collects what is wrong. Reflection is in its place here: a configuration is read
// once, and the struct tags are then the only place where a key, a default or a bound is written.
type decoder struct {
	origin
	faults Faults
}

// maxFaults bounds what is told of one file, so that a wrong one of 16MiB does not become a gigabyte of faults.
const maxFaults = 1000

// field is what the tags of a struct field say.
type field struct {
	key, def, min, max, example string
	oneof                       []string
	required                    bool
}

func fieldOf(f reflect.StructField) (field, bool) {
	key := f.Tag.Get("yaml")
	if key == "" || key == "-" {
		return field{}, false
	}
	return field{
		key: key, def: f.Tag.Get("default"), min: f.Tag.Get("min"), max: f.Tag.Get("max"), example: f.Tag.Get("example"),
		oneof: strings.Fields(f.Tag.Get("oneof")), required: f.Tag.Get("required") == "true",
	}, true
}

func (d *decoder) report(n *yaml.Node, path, problem, instead string) {
	switch {
	case len(d.faults) > maxFaults:
		return
	case len(d.faults) == maxFaults:
		problem, instead = "more than 1000 faults: the rest is not told", "is this a configuration?"
	}
	f := d.fault(path, valueFault{problem, instead})
	f.Line, f.Column = max(n.Line, 1), max(n.Column, 1)
	d.faults = append(d.faults, f)
}

// config fills c from the root of the document; a nil root is an empty file.
func (d *decoder) config(root *yaml.Node, c *Config) {
	if root == nil || isNull(root) {
		root = &yaml.Node{Kind: yaml.MappingNode, Line: 1, Column: 1}
	}
	d.structure(root, reflect.ValueOf(c).Elem(), "")
}

// node fills v from n.
func (d *decoder) node(n *yaml.Node, v reflect.Value, path string, f field) {
	d.at[path] = position{n.Line, n.Column}
	switch {
	case n.Kind == yaml.AliasNode:
		d.report(n, path, "an alias (*) is not allowed", "write the value itself")
		return
	case n.Anchor != "":
		d.report(n, path, "an anchor (&) is not allowed", "write the value alone")
		return
	}
	if w, ok := v.Addr().Interface().(value); ok {
		d.word(n, w, path, f)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Slice:
		d.list(n, v, path, f)
	case reflect.String:
		d.word(n, &choice{v, f.oneof}, path, f)
	default:
		panic("configs: a field of " + v.Type().String() + " cannot be read") // unreachable: TestReferenceIsLoaded visits every field
	}
}

// structure fills a struct from a mapping, and gives each absent key its default.
func (d *decoder) structure(n *yaml.Node, v reflect.Value, path string) {
	given := make(map[string]*yaml.Node, len(n.Content)/2)
	if n.Kind != yaml.MappingNode {
		if !isNull(n) {
			d.report(n, path, "keys are expected here, not "+kindOf(n), "write the keys on lines of their own, indented: "+strings.Join(keysOf(v.Type()), ", "))
			n = &yaml.Node{}
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if first, twice := given[key.Value]; twice && slices.Contains(keysOf(v.Type()), key.Value) {
			d.report(key, join(path, key.Value), "written a second time", "keep one; the first is on line "+strconv.Itoa(first.Line))
			continue
		}
		given[key.Value] = val
		d.key(key, v.Type(), path)
	}
	wrong := n.Kind == 0
	for i := range v.NumField() {
		f, ok := fieldOf(v.Type().Field(i))
		if !ok {
			continue
		}
		at := join(path, f.key)
		val, there := given[f.key]
		if there && isNull(val) && v.Field(i).Kind() != reflect.Struct {
			d.report(val, at, "no value", "write one, or leave the key out")
			there = false
			f.required = false // said already
		}
		switch {
		case there:
			d.node(val, v.Field(i), at, f)
		case f.required && !wrong:
			d.report(n, at, "missing", "write "+sample(f, v.Field(i).Kind()))
			fallthrough
		default:
			d.preset(v.Field(i), f)
		}
	}
}

// key reports a key that the struct does not have.
func (d *decoder) key(key *yaml.Node, t reflect.Type, path string) {
	known := keysOf(t)
	switch {
	case key.Kind != yaml.ScalarNode || key.Tag == "!!merge":
		d.report(key, path, "a key must be a plain word", "write one of: "+strings.Join(known, ", "))
	case slices.Contains(known, key.Value):
	case slices.Contains([]string{"secret", "password", "passphrase", "pass", "token"}, key.Value):
		d.report(key, join(path, key.Value), "a secret may not be written into the configuration", "name a file with secret_file, or an environment variable with secret_env, and change the secret: it has been in this file")
	default:
		instead := "the keys known here are: " + strings.Join(known, ", ")
		if k := nearest(key.Value, known); k != "" {
			instead = "did you mean " + k + "?"
		}
		d.report(key, path, "unknown key "+quoted(key.Value), instead)
	}
}

// preset gives an absent field its default, and the fields below it theirs.
func (d *decoder) preset(v reflect.Value, f field) {
	w, isValue := v.Addr().Interface().(value)
	switch {
	case isValue && f.def != "":
		if fault := w.parse(f.def); fault != nil {
			panic("configs: the default of " + f.key + " is wrong: " + fault.problem) // unreachable: TestDefaults reads them all
		}
	case isValue || f.def == "" && v.Kind() != reflect.Struct:
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if below, ok := fieldOf(v.Type().Field(i)); ok {
				d.preset(v.Field(i), below)
			}
		}
	default:
		v.SetString(f.def)
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string, f field) {
	if n.Kind != yaml.SequenceNode {
		d.report(n, path, "a list is expected here, not "+kindOf(n), "write each entry on a line of its own, after a hyphen")
		return
	}
	if len(n.Content) == 0 && f.required {
		d.report(n, path, "the list is empty", "write "+sample(f, reflect.Slice))
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, e := range n.Content {
		at := path + "[" + strconv.Itoa(i) + "]"
		if isNull(e) {
			d.report(e, at, "no value", "write an entry, or remove the hyphen")
			continue
		}
		d.node(e, v.Index(i), at, f)
	}
}

// word fills a value that is one word.
func (d *decoder) word(n *yaml.Node, w value, path string, f field) {
	if n.Kind != yaml.ScalarNode {
		d.report(n, path, "one value is expected here, not "+kindOf(n), "write "+sample(f, reflect.String))
		return
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.report(n, path, "a tag (!) is not allowed", "write the value alone")
		return
	}
	if fault := w.parse(n.Value); fault != nil {
		d.report(n, path, fault.problem, fault.instead)
		return
	}
	if q, ok := w.(quantity); ok {
		d.bounds(n, q, path, f)
	}
}

func (d *decoder) bounds(n *yaml.Node, q quantity, path string, f field) {
	for _, b := range []struct {
		text, problem string
		sign          int64
	}{{f.min, "is less than the least, ", -1}, {f.max, "is more than the most, ", 1}} {
		if b.text == "" {
			continue
		}
		limit := reflect.New(reflect.TypeOf(q).Elem()).Interface().(interface {
			value
			quantity
		})
		if fault := limit.parse(b.text); fault != nil {
			panic("configs: a bound of " + path + " is wrong: " + fault.problem) // unreachable: TestDefaults reads them all
		}
		if b.sign*(q.quantity()-limit.quantity()) > 0 {
			d.report(n, path, quoted(n.Value)+" "+b.problem+b.text, "write a value from "+f.min+" to "+f.max)
		}
	}
}

// choice is a string that must be one of a few words.
type choice struct {
	v     reflect.Value
	words []string
}

func (c *choice) parse(s string) *valueFault {
	if !slices.Contains(c.words, s) {
		instead := "write one of: " + strings.Join(c.words, ", ")
		if w := nearest(s, c.words); w != "" {
			instead = "did you mean " + w + "? " + instead
		}
		return &valueFault{quoted(s) + " is not known here", instead}
	}
	c.v.SetString(s)
	return nil
}

// sample says what a key that is missing would look like.
func sample(f field, kind reflect.Kind) string {
	text, _, _ := strings.Cut(f.example, "|")
	if text == "" && f.def != "" {
		text = f.def
	}
	switch {
	case kind == reflect.Slice && text != "":
		return f.key + ": [" + quoted(text) + "]"
	case kind == reflect.Slice:
		return f.key + ": and below it at least one entry, after a hyphen"
	case text == "":
		return "one value"
	}
	return f.key + ": " + text
}

func keysOf(t reflect.Type) []string {
	keys := make([]string, 0, t.NumField())
	for i := range t.NumField() {
		if f, ok := fieldOf(t.Field(i)); ok {
			keys = append(keys, f.key)
		}
	}
	return keys
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null" && n.Anchor == ""
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	return "one value"
}
