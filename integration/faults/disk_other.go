//go:build !linux

package faults

import "errors"

var errNoMount = errors.New("faults: only Linux has a disk that can be made full")

func smallDisk(string) (func(), error) { return nil, errNoMount }

func canMount(string) bool { return false }

func fill(string) (func(), error) { return nil, errNoMount }
