// Package faults plays both sides of a gateway, breaks it or them at random times, and checks that what the gateway promises held: every
// message that it acknowledged was delivered or its sender was told, exactly one of the two, in order, and copies come after crashes alone
// (invariants I1 to I4 of THREATS.md 4.3). It runs the real command in a process of its own, on loopback.
package faults
