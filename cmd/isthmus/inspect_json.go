package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	name  string
	value any
}

func (o object) with(m ...member) object { return append(o[:len(o):len(o)], m...) }

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := e.Encode(m.name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := e.Encode(m.value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// octets is the pair of members that shows content: as text if it is UTF-8, else in base64; and its length.
func octets(name string, b []byte) []member {
	size := member{name + "Octets", len(b)}
	if utf8.Valid(b) {
		return []member{{name, string(b)}, size}
	}
	return []member{{name + "Base64", base64.StdEncoding.EncodeToString(b)}, size}
}

// plain turns a value of the format packages into what JSON can show: a struct into an object of its exported fields that are not
// zero, with names in lower camel case; a value that hides its fields, and a word of a fixed set, into its text.
//
// It is reflection, so that a field that is added to the formats is shown without a line here. No message of the gateway goes
// through it.
func plain(v any) any { return plainValue(reflect.ValueOf(v)) }

func plainValue(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Invalid:
		return nil
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return plainValue(v.Elem())
	}
	if s, ok := text(v); ok {
		return s
	}
	switch v.Kind() {
	case reflect.Struct:
		return plainStruct(v)
	case reflect.Slice, reflect.Array:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plainValue(v.Index(i))
		}
		return list
	case reflect.String:
		return v.String()
	case reflect.Bool:
		return v.Bool()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return v.Uint()
	case reflect.Float32, reflect.Float64:
		return v.Float()
	}
	return fmt.Sprint(v)
}

// text is the value's own text: for what has no exported field to show.
func text(v reflect.Value) (string, bool) {
	if v.Kind() == reflect.Struct {
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				return "", false
			}
		}
	}
	switch s := v.Interface().(type) {
	case time.Time:
		return s.Format(time.RFC3339Nano), true
	case interface{ Octets() string }: // an element that the package does not know
		return s.Octets(), true
	case fmt.Stringer:
		return s.String(), true
	}
	return "", false
}

func plainStruct(v reflect.Value) object {
	o := object{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() || v.Field(i).IsZero() || v.Field(i).Kind() == reflect.Slice && v.Field(i).Len() == 0 {
			continue
		}
		if below, ok := plainValue(v.Field(i)).(object); ok && f.Anonymous {
			o = append(o, below...)
			continue
		}
		o = append(o, member{camel(f.Name), plainValue(v.Field(i))})
	}
	return o
}

// camel turns a Go name into a JSON one: ID is id, MessageID messageID, RecipientURI recipientURI, CIPID cipid.
func camel(name string) string {
	runes := []rune(name)
	for i := range runes {
		if i > 0 && i+1 < len(runes) && unicode.IsUpper(runes[i]) && !unicode.IsUpper(runes[i+1]) || !unicode.IsUpper(runes[i]) {
			break
		}
		runes[i] = unicode.ToLower(runes[i])
	}
	return strings.TrimSpace(string(runes))
}

// without is o without the members of these names.
func (o object) without(names ...string) object {
	kept := object{}
	for _, m := range o {
		if !slices.Contains(names, m.name) {
			kept = append(kept, m)
		}
	}
	return kept
}
