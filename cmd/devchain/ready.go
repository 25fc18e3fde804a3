package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ethereum/go-ethereum/common"
)

// readiness is the content of the ready file: how to reach a chain that serves.
type readiness struct {
	RPC     string         `json:"rpc"`
	WS      string         `json:"ws"`
	Token   common.Address `json:"token"`
	ChainID uint64         `json:"chain_id"`
}

// line is the readiness as one line of JSON.
func (r readiness) line() ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// writeReadyFile writes beside the path and renames, so that who waits for the
// file never reads half of it.
func writeReadyFile(path string, r readiness) (err error) {
	data, err := r.line()
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write the ready file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write the ready file: %w", err), os.Remove(temp.Name()))
		}
	}()
	if _, err = temp.Write(data); err != nil {
		return errors.Join(err, temp.Close())
	}
	if err = temp.Close(); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}

// removeReadyFile removes the file of a chain that no longer serves, or one that an earlier
// run left behind.
func removeReadyFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the ready file: %w", err)
	}
	return nil
}
