package store

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Facts holds small values by bucket and key. Buckets and keys are of letters, digits, "-", "_", "=", "." and "/", at most 128 octets.
// Safe for use from many goroutines.
type Facts interface {
	// Put writes a value. life is how long it is kept, 0 for ever. When it returns nil it survives a crash.
	Put(ctx context.Context, bucket, key string, value []byte, life time.Duration) error
	// Create is Put where there is no value yet; else it fails with ErrExists.
	Create(ctx context.Context, bucket, key string, value []byte, life time.Duration) error
	// Replace is Put where the value is still of this revision; else it fails with ErrExists.
	Replace(ctx context.Context, bucket, key string, value []byte, revision uint64, life time.Duration) error
	// Get reads a value and its revision, or fails with ErrNotFound.
	Get(ctx context.Context, bucket, key string) (value []byte, revision uint64, err error)
	// Delete forgets a value. It is no error if there is none.
	Delete(ctx context.Context, bucket, key string) error
	// Each calls f for each value of a bucket, in no order, until f fails.
	Each(ctx context.Context, bucket string, f func(key string, value []byte, revision uint64) error) error
	// EachOf calls f for each value of several buckets, in no order, until f fails. It costs less than to read them one after the other, and f is
	// called while they are read: a value that is written meanwhile may come twice, and one that is deleted meanwhile all the same.
	EachOf(ctx context.Context, buckets []string, f func(bucket, key string, value []byte, revision uint64) error) error
	// Watch calls f for each value of a bucket that is there, then once with Through, then for each change: a value that was written, or one
	// that is gone because it was deleted or its life ended. Of changes that follow each other quickly only the last may be told. f is not
	// called from two goroutines at once. Watch returns when ctx ends, with its error, or when the store fails, with ErrUnavailable: who
	// still wants to know watches anew.
	Watch(ctx context.Context, bucket string, f func(Change)) error
}

// Change is what a watch tells.
type Change struct {
	Key      string
	Value    []byte
	Revision uint64
	// Gone tells that the value is no more; there is no Value and no Revision then.
	Gone bool
	// Through tells that the values that were there when the watch began have been told; nothing else is set.
	Through bool
}

// Durable is all that a store offers.
type Durable interface {
	Journal
	Facts
	Bus
}

// CheckFact tells what is wrong with a bucket and a key; every implementation refuses what it refuses.
func CheckFact(bucket, key string) error {
	for _, s := range [...]string{bucket, key} {
		if s == "" || len(s) > 128 {
			return errors.New("store: a bucket and a key of 1 to 128 octets are needed")
		}
		for i := range len(s) {
			if c := s[i]; c-'0' >= 10 && (c|0x20)-'a' >= 26 && strings.IndexByte("-_=./", c) < 0 {
				return errors.New("store: buckets and keys are letters, digits, - _ = . and /")
			}
		}
	}
	if key[0] == '=' {
		return errors.New("store: a key does not begin with =")
	}
	// A dot stands between bucket and key on the engine, and parts must not be empty.
	if strings.ContainsRune(bucket, '.') || strings.HasPrefix(key, ".") || strings.HasSuffix(key, ".") || strings.Contains(key, "..") {
		return errors.New("store: a dot stands inside a key alone")
	}
	return nil
}
