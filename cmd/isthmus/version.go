package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
)

// versionCommand prints what this binary was made from.
type versionCommand struct {
	JSON bool `name:"json" help:"Print one JSON object."`
}

// version is what this binary was made from, as the Go tool recorded it.
type version struct {
	Module   string `json:"module"`
	Version  string `json:"version"`            // of the module, "(devel)" if it was built from a checkout
	Revision string `json:"revision,omitempty"` // the commit
	Time     string `json:"time,omitempty"`     // of the commit
	Modified bool   `json:"modified"`           // the checkout had changes that are not in the commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func readVersion() version {
	v := version{Version: "(unknown)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Module = info.Main.Path
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

// Run implements the command.
func (c versionCommand) Run(p process) error {
	v := readVersion()
	if c.JSON {
		return json.NewEncoder(p.out).Encode(v)
	}
	revision := v.Revision
	if revision == "" {
		revision = "unknown"
	}
	if v.Modified {
		revision += " with changes"
	}
	_, err := fmt.Fprintf(p.out, "isthmus %s\nrevision %s\n%s %s\n", v.Version, revision, v.Go, v.Platform)
	return err
}
