// Package timerslack lets the kernel be late with short sleeps. With traffic in small bursts the Go runtime's monitor thread is woken at each of
// them, sleeps 20 µs at a time while there is work, looks around, and goes to sleep when there is none: thousands of switches between
// threads a second, for each of which a processor without work to do has to be programmed anew.
package timerslack

import "time"

// Slack is by how much a sleep of a thread may be too long. Timers of the gateway are milliseconds and more; those whose lateness counts are SIP's
// and XMPP's, of 500 ms and more.
const Slack = 500 * time.Microsecond
