// Package store keeps what must survive a crash: messages that the gateway has answered for, notices on their way to senders, and small
// facts with a life of their own.
//
// What a call has returned from without an error has been synced to disk. There is no faster way, and none is to be added: a message
// that was acknowledged and is not on disk is a lost message (THREATS.md 0.4).
package store
