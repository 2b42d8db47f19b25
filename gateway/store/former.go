package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// former refuses a cluster's directory that holds messages of the time when the node was alone: nobody would ever deliver them.
func (s *Store) former(ctx context.Context) error {
	if !s.clustered() || !s.local() {
		return nil
	}
	if _, err := os.Stat(filepath.Join(s.cfg.Directory, "jetstream")); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	old := &Store{cfg: s.cfg, at: alone}
	old.cfg.Cluster = nil
	old.ending, old.end = context.WithCancel(ctx)
	if err := old.run(ctx); err != nil {
		old.end()
		return fmt.Errorf("what was stored without the cluster: %w", err)
	}
	n := old.Usage().Entries
	old.Close()
	if n > 0 {
		return fmt.Errorf("%w: %d of them in %s; start the node without the cluster until they are delivered, or give the cluster another directory",
			ErrFormer, n, s.cfg.Directory)
	}
	return nil
}
