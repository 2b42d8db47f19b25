package configs

import (
	"reflect"
	"slices"
)

// What becomes of a key when the configuration is read again while the gateway runs, as the tag "reload" of its field says; a key without
// the tag is as the one that it stands under. The reference prints it.
const (
	reloadLive    = "live"    // the new value is taken on
	reloadRestart = "restart" // the old value stays until the gateway is started again
)

// Renewal is what a configuration that was read again means for a gateway that runs with another one.
type Renewal struct {
	// Config is what the gateway is to run with: the new configuration, in which each key of Pending has its old value. Nothing in it is
	// shared with what may change later.
	Config *Config
	// Changed are the keys whose new values are in Config, Pending those whose new values need a restart, both in the order of the
	// reference. A list that changed is one key.
	Changed, Pending []string
}

// Renew finds what is to become of running when it is to be replaced by next, both of which were loaded. It changes neither. The error is
// Faults: a new value that does not go with the old one of a key that needs a restart.
func Renew(running, next *Config) (Renewal, error) {
	merged := *next
	r := Renewal{Config: &merged}
	r.structure(reflect.ValueOf(running).Elem(), reflect.ValueOf(&merged).Elem(), "", "")
	if len(r.Pending) == 0 {
		return r, nil
	}
	if faults := merged.check(); len(faults) > 0 {
		for i := range faults {
			faults[i].Instead = "restart the gateway to change " + r.Pending[0] + " as well; " + faults[i].Instead
		}
		return Renewal{Pending: r.Pending}, faults.err()
	}
	return r, nil
}

// structure compares two structs of the same type and leaves in next what a gateway that runs with old can have. mode is that of the key
// at path.
func (r *Renewal) structure(old, next reflect.Value, path, mode string) {
	for i := range next.NumField() {
		t := next.Type().Field(i)
		if !t.IsExported() {
			continue // where the values were written
		}
		mode, at := mode, path
		if tag := t.Tag.Get("reload"); tag != "" {
			mode = tag
		}
		if key := t.Tag.Get("yaml"); key != "" && key != "-" {
			at = key
			if path != "" {
				at = path + "." + key
			}
		}
		o, n := old.Field(i), next.Field(i)
		if isSection(t.Type) {
			r.structure(o, n, at, mode)
			continue
		}
		if reflect.DeepEqual(o.Interface(), n.Interface()) {
			continue
		}
		list := &r.Changed
		if mode == reloadRestart {
			list = &r.Pending
			n.Set(o)
		}
		if !slices.Contains(*list, at) {
			*list = append(*list, at)
		}
	}
}

// isSection tells whether a value of this type has keys of its own.
func isSection(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	for i := range t.NumField() {
		if _, ok := fieldOf(t.Field(i)); ok {
			return true
		}
	}
	return false
}
