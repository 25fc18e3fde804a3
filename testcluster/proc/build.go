package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// raceVariable, when set, has ozmo built with the race detector.
const raceVariable = "OZMO_TEST_RACE"

// binaries builds ozmo and devchain, once per test process.
var binaries = sync.OnceValues(build)

// Binary is the path of a program of this module: "ozmo" or "devchain".
func Binary(name string) (string, error) {
	dir, err := binaries()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, name), nil
}

// RemoveBinaries removes what was built. It is for TestMain, at the end.
func RemoveBinaries() error {
	binDir.Lock()
	defer binDir.Unlock()
	if binDir.path == "" {
		return nil
	}
	return os.RemoveAll(binDir.path)
}

var binDir struct {
	sync.Mutex
	path string
}

func build() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "ozmo-bin-")
	if err != nil {
		return "", err
	}
	binDir.Lock()
	binDir.path = dir
	binDir.Unlock()
	for _, name := range []string{"devchain", "ozmo"} {
		args := []string{"build", "-buildvcs=false", "-o", dir + "/"}
		if name == "ozmo" && os.Getenv(raceVariable) != "" {
			args = append(args, "-race")
		}
		cmd := exec.Command("go", append(args, "./cmd/"+name)...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build ./cmd/%s: %w\n%s", name, err, out)
		}
	}
	return dir, nil
}

// moduleRoot is the folder of go.mod at or above the working directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod at or above the working directory")
		}
		dir = parent
	}
}
