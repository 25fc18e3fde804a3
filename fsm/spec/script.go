package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// scriptExtensions is the file extension that each language asks for.
var scriptExtensions = map[string]string{JavaScript: ".js", Python: ".py", Bash: ".sh"}

var errOutside = errors.New("is outside the folder: script paths are relative to the folder and must stay inside it")

// checkScript applies the rules on a script's file to the path as written.
func checkScript(n node, s Script) {
	if s.ScriptPath == "" {
		if n.ok() {
			n.fail("is empty, expected the path of a script")
		}
		return
	}
	if _, ok := ScriptID(s.ScriptPath); !ok && n.w.origin == OriginTenant {
		n.fail("found %s, expected the path of a stored script: relative, like scripts/filter.py", quote(s.ScriptPath))
		return
	}
	if want, ok := scriptExtensions[s.Language]; ok && path.Ext(s.ScriptPath) != want {
		n.fail("found %s, expected a file that ends in %s, since the language is %s", quote(s.ScriptPath), want, s.Language)
	}
	if n.w.scripts == nil {
		return
	}
	_, info, err := findScript(n.w.scripts, s.ScriptPath)
	switch {
	case err != nil:
		n.fail("found %s, which %v", quote(s.ScriptPath), err)
	case info.Mode()&0o022 != 0:
		n.warn("%s can be changed by others than its owner (mode %v): chmod go-w it", quote(s.ScriptPath), info.Mode().Perm())
	}
}

// findScript looks a script up as its document writes it. The peer runs one
// level above its configuration folder, so its paths begin with config/; that
// prefix is dropped when there is no such folder inside the folder.
func findScript(fsys fs.FS, written string) (name string, info fs.FileInfo, err error) {
	name = path.Clean(written)
	if !fs.ValidPath(name) {
		return "", nil, errOutside
	}
	candidates := []string{name}
	if inner, ok := strings.CutPrefix(name, "config/"); ok {
		candidates = append(candidates, inner)
	}
	for _, c := range candidates {
		info, err := fs.Stat(fsys, c)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return "", nil, fmt.Errorf("cannot be read: %w", err)
		case !info.Mode().IsRegular():
			return "", nil, errors.New("is not a file")
		}
		return c, info, nil
	}
	return "", nil, errors.New("does not exist in the folder")
}
