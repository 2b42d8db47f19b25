package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// inspectCommand is the linter of the formats that the gateway speaks.
type inspectCommand struct {
	As      string `placeholder:"KIND" enum:"cpim,pidf,datetime,uri,jid,stanza,sip,imdn,iscomposing," default:"" help:"cpim, pidf, datetime, uri, jid, stanza, sip, imdn or iscomposing. Default: by what the input looks like."`
	Print   bool   `help:"Print the canonical form instead of JSON."`
	Lines   bool   `help:"Take one value per line (datetime, uri, jid) and print one JSON object per line."`
	Lenient bool   `help:"Take what deployed software is known to send (cpim, pidf, imdn, iscomposing), and say which leniencies it took."`
	Profile string `enum:"rfc3339,cpim,pidf,xmpp,xml" default:"rfc3339" help:"Whose rules a datetime follows: rfc3339, cpim, pidf, xmpp or xml. Default rfc3339."`
	File    string `arg:"" optional:"" help:"The file. Default, and -: standard input."`
}

// maxInspect bounds the input of one value in octets, and maxLine that of a line.
const (
	maxInspect = 16 << 20
	maxLine    = 1 << 20
)

// inspection is one value that was understood.
type inspection struct {
	// fields is what JSON says of it, beside ok and kind.
	fields object
	// canonical appends the canonical form, as --print writes it.
	canonical func(dst []byte) ([]byte, error)
}

// inspector understands one kind.
type inspector struct {
	line    bool // one value fits on a line
	inspect func(input []byte, o inspectOptions) (inspection, error)
}

type inspectOptions struct {
	lenient bool
	profile string
}

func inspectors() map[string]inspector {
	return map[string]inspector{
		"cpim":        {false, inspectCPIM},
		"pidf":        {false, inspectPIDF},
		"imdn":        {false, inspectIMDN},
		"iscomposing": {false, inspectIsComposing},
		"stanza":      {false, inspectStanza},
		"sip":         {false, inspectSIP},
		"datetime":    {true, inspectDateTime},
		"uri":         {true, inspectURI},
		"jid":         {true, inspectJID},
	}
}

// Run implements the command.
func (c inspectCommand) Run(p process) error {
	in, name, err := openInput(p, c.File)
	if err != nil {
		return err
	}
	defer in.Close()
	if c.Lines {
		if k, ok := inspectors()[c.As]; !ok || !k.line {
			return &usageError{"--lines takes --as datetime, uri or jid: other values have more than one line"}
		}
		return c.lines(in, p.out)
	}
	input, err := io.ReadAll(io.LimitReader(in, maxInspect+1))
	switch {
	case err != nil:
		return err
	case len(input) > maxInspect:
		return fmt.Errorf("%s is longer than 16MiB", name)
	}
	kind := c.As
	if kind == "" {
		if kind = kindOf(input); kind == "" {
			return &usageError{"what the input is cannot be seen: say --as cpim, pidf, datetime, uri, jid, stanza, sip, imdn or iscomposing"}
		}
	}
	k := inspectors()[kind]
	if k.line {
		input = bytes.TrimSuffix(bytes.TrimSuffix(input, []byte("\n")), []byte("\r"))
	}
	found, err := k.inspect(input, inspectOptions{c.Lenient, c.Profile})
	if err != nil {
		d := diagnose(err)
		if e := encoder(p.out).Encode(object{{"ok", false}, {"kind", kind}}.with(d.fields()...)); e != nil {
			return e
		}
		fmt.Fprintf(p.err, "isthmus: %s: %s\n", name, d)
		return silentError{}
	}
	if c.Print {
		text, err := found.canonical(nil)
		if err != nil {
			return fmt.Errorf("%s cannot be printed: %w", name, err)
		}
		if k.line {
			text = append(text, '\n')
		}
		_, err = p.out.Write(text)
		return err
	}
	e := encoder(p.out)
	e.SetIndent("", "  ")
	return e.Encode(object{{"ok", true}, {"kind", kind}}.with(found.fields...))
}

// lines inspects each line by itself. A line that is wrong does not end the run, but decides the exit code.
func (c inspectCommand) lines(in io.Reader, out io.Writer) error {
	k := inspectors()[c.As]
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	w := bufio.NewWriter(out)
	e := encoder(w)
	var failed error
	for lines.Scan() {
		input := lines.Text()
		result := object{{"input", input}}
		found, err := k.inspect([]byte(input), inspectOptions{c.Lenient, c.Profile})
		var canonical []byte
		if err == nil && c.Print {
			canonical, err = found.canonical(nil)
		}
		switch {
		case err != nil:
			failed = silentError{}
			result = result.with(member{"ok", false}).with(diagnose(err).fields()...)
		case c.Print:
			result = result.with(member{"ok", true}, member{"canonical", string(canonical)})
		default:
			result = result.with(member{"ok", true}).with(found.fields...)
		}
		if err := e.Encode(result); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			err = errors.New("a line is longer than 1MiB")
		}
		return errors.Join(err, w.Flush())
	}
	return errors.Join(w.Flush(), failed)
}

// encoder writes JSON for people and programs, not for web pages: < stays <.
func encoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}

// kindOf guesses the kind of an input by its first octets; "" if it looks like none.
func kindOf(input []byte) string {
	text := string(input[:min(len(input), 4096)])
	trimmed := strings.TrimLeft(strings.TrimPrefix(text, "\ufeff"), " \t\r\n")
	first, rest, manyLines := strings.Cut(strings.TrimRight(trimmed, "\r\n"), "\n")
	first = strings.TrimSuffix(first, "\r")
	switch {
	case strings.HasPrefix(trimmed, "<"):
		return kindOfXML(trimmed)
	case strings.HasPrefix(first, "SIP/2.0 ") || strings.HasSuffix(first, " SIP/2.0"):
		return "sip"
	case manyLines && rest != "" && strings.Contains(first, ": "):
		return "cpim"
	case manyLines:
		return ""
	case len(first) > 10 && first[4] == '-' && first[7] == '-' && strings.ContainsAny(first[10:11], "Tt "):
		return "datetime"
	case strings.HasPrefix(first, "im:"), strings.HasPrefix(first, "pres:"), strings.HasPrefix(first, "sip:"), strings.HasPrefix(first, "sips:"), strings.HasPrefix(first, "tel:"):
		return "uri"
	case strings.Contains(first, "@") && !strings.ContainsAny(first, ":<>"):
		return "jid"
	}
	return ""
}

func kindOfXML(text string) string {
	for _, k := range []struct{ mark, kind string }{
		{"urn:ietf:params:xml:ns:imdn", "imdn"},
		{"urn:ietf:params:xml:ns:im-iscomposing", "iscomposing"},
		{"urn:ietf:params:xml:ns:pidf", "pidf"},
		{"<imdn", "imdn"},
		{"<isComposing", "iscomposing"},
		{"<message", "stanza"},
		{"<presence", "stanza"},
		{"<iq", "stanza"},
	} {
		if strings.Contains(text, k.mark) {
			return k.kind
		}
	}
	return ""
}
