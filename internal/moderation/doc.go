// Package moderation has work that comes piece by piece, at some rate, come in small batches, as the interrupt moderation of a network card does.
//
// A message that comes alone is a wake-up of each who takes part: the reader of the socket, the worker, the writer to the server, the reader of its
// answer, each with a switch and a system call, which together cost twice what the message does in a crowd. So whoever reads a socket to which much comes
// rests after it has read it empty, until the beginning of its last rest is a Cycle away: what comes meanwhile is read together, written together and answered together.
//
// A rest lets the processor of the Go scheduler sleep that the reader runs on, and does not give it to others: on one processor that is the point, since whatever
// comes to any socket would wake it again, and waits for the same cycle now. With more than one there is no rest, because another would be woken in its place.
// Before a rest those who can run have done so.
package moderation
