package store

import (
	"context"
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
}
