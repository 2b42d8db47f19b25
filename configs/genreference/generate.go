package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

const header = `# The configuration of isthmus: every key, with its default or an example.
# Made by go generate from the comments of the types in configs/*.go: change those. ` + "`isthmus config`" + ` prints it.

`

// width is where comments are broken.
const width = 120

// structure is one struct type of the package.
type structure struct {
	doc    string
	fields []field
}

type field struct {
	doc      string
	typeName string // of the element, for a list
	list     bool
	tag      reflect.StructTag
}

func (f field) key() string { return f.tag.Get("yaml") }

// generate reads the package in folder and returns the reference: a file that is itself a right configuration.
func generate(folder string) ([]byte, error) {
	types, err := readTypes(folder)
	if err != nil {
		return nil, err
	}
	root, ok := types["Config"]
	if !ok {
		return nil, fmt.Errorf("no type Config in %s", folder)
	}
	p := printer{types: types}
	p.out.WriteString(header)
	p.comment(0, strings.Replace(root.doc, "Config is the ", "The ", 1))
	p.structure(0, root)
	return p.out.Bytes(), p.err
}

func readTypes(folder string) (map[string]structure, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	types := make(map[string]structure)
	set := token.NewFileSet()
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, filepath.Join(folder, e.Name()), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE {
				continue
			}
			for _, s := range g.Specs {
				t := s.(*ast.TypeSpec)
				if st, ok := t.Type.(*ast.StructType); ok {
					if types[t.Name.Name], err = readStruct(g.Doc.Text(), st); err != nil {
						return nil, fmt.Errorf("%s: %w", t.Name.Name, err)
					}
				}
			}
		}
	}
	return types, nil
}

func readStruct(doc string, st *ast.StructType) (structure, error) {
	s := structure{doc: doc}
	for _, f := range st.Fields.List {
		if f.Tag == nil {
			continue
		}
		text, err := strconv.Unquote(f.Tag.Value)
		if err != nil {
			return s, err
		}
		read := field{doc: f.Doc.Text(), tag: reflect.StructTag(text)}
		if read.key() == "" || read.key() == "-" {
			continue
		}
		element := f.Type
		if a, ok := element.(*ast.ArrayType); ok {
			read.list, element = true, a.Elt
		}
		id, ok := element.(*ast.Ident)
		if !ok || read.doc == "" {
			return s, fmt.Errorf("the field of key %s needs a comment and a type of this package", read.key())
		}
		read.typeName = id.Name
		s.fields = append(s.fields, read)
	}
	return s, nil
}

type printer struct {
	types map[string]structure
	out   bytes.Buffer
	err   error
}

func (p *printer) line(indent int, text string) {
	p.out.WriteString(strings.Repeat(" ", indent))
	p.out.WriteString(text)
	p.out.WriteByte('\n')
}

// comment writes text as lines of a comment, paragraphs kept.
func (p *printer) comment(indent int, text string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			p.line(indent, "#")
		}
		line := "#"
		for word := range strings.FieldsSeq(paragraph) {
			if indent+len(line)+1+len(word) > width && line != "#" {
				p.line(indent, line)
				line = "#"
			}
			line += " " + word
		}
		p.line(indent, line)
	}
}

func (p *printer) structure(indent int, s structure) {
	for i, f := range s.fields {
		if indent == 0 || i > 0 && indent == 2 {
			p.out.WriteByte('\n')
		}
		p.field(indent, f)
	}
}

func (p *printer) field(indent int, f field) {
	p.comment(indent, f.doc)
	if text := facts(f); text != "" {
		p.comment(indent, text)
	}
	below, isStruct := p.types[f.typeName]
	isStruct = isStruct && len(below.fields) > 0
	switch {
	case isStruct && f.list:
		p.line(indent, f.key()+":")
		p.entries(indent+2, below)
	case isStruct:
		p.line(indent, f.key()+":")
		p.structure(indent+2, below)
	case f.tag.Get("default") != "":
		p.line(indent, f.key()+": "+scalar(f.tag.Get("default")))
	default:
		text, _, _ := strings.Cut(f.tag.Get("example"), "|")
		if text == "" {
			p.err = fmt.Errorf("the key %s has neither a default nor an example", f.key())
		}
		mark := "# "
		if f.tag.Get("required") == "true" || f.tag.Get("shown") == "true" {
			mark = ""
		}
		p.line(indent, mark+f.key()+": "+p.written(f, text))
	}
}

func (p *printer) written(f field, text string) string {
	if f.list {
		return "[" + scalar(text) + "]"
	}
	return scalar(text)
}

// entries writes a list of structs: one entry with comments, and the further examples, if there are any, as entries without.
func (p *printer) entries(indent int, s structure) {
	p.line(indent, "-")
	p.structure(indent+2, s)
	for n, more := 1, true; more; n++ {
		more = false
		for _, f := range s.fields {
			texts := strings.Split(f.tag.Get("example"), "|")
			if len(texts) <= n {
				continue
			}
			lead := "  "
			if !more {
				lead, more = "- ", true
			}
			p.line(indent, lead+f.key()+": "+p.written(f, texts[n]))
		}
	}
}

// facts is what the tags say, as a sentence.
func facts(f field) string {
	var parts []string
	if words := f.tag.Get("oneof"); words != "" {
		parts = append(parts, "One of: "+strings.Join(strings.Fields(words), ", ")+".")
	}
	switch def := f.tag.Get("default"); {
	case f.tag.Get("required") == "true":
		parts = append(parts, "Required.")
	case def != "":
		parts = append(parts, "Default "+def+".")
	}
	if least, most := f.tag.Get("min"), f.tag.Get("max"); least != "" {
		parts = append(parts, "From "+least+" to "+most+".")
	}
	if reload := f.tag.Get("reload"); reload != "" {
		parts = append(parts, "Reload: "+reload+".")
	}
	return strings.Join(parts, " ")
}

// scalar is text in quotes if YAML would not read it as this string without.
func scalar(text string) string {
	if strings.ContainsAny(text, ":#[]{},&*!|>'\"%@`; ") {
		return strconv.Quote(text)
	}
	return text
}
