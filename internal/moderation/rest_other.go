//go:build !linux

package moderation

import "time"

// newRest returns nothing: nobody rests.
func newRest() (rest func(time.Duration), end func()) { return nil, nil }
