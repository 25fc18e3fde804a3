package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/secrets"
)

// testDocuments are the documents of one test.
type testDocuments struct {
	network  *spec.Network
	monitors []testMonitor
	triggers map[string]*spec.Trigger
	files    map[string]string // trigger id -> file
	problems spec.Problems
}

type testMonitor struct {
	doc  *spec.Monitor
	file string
	own  bool // given by its file, not found in a folder
}

// loadTest reads the documents. The error lists everything that keeps the test
// from running; problems of less weight are in the documents.
func loadTest(ctx context.Context, o *testOptions) (*testDocuments, error) {
	d := &testDocuments{triggers: make(map[string]*spec.Trigger), files: make(map[string]string)}
	d.loadNetwork(ctx, o)
	d.loadMonitors(o.monitors)
	for _, file := range o.triggers {
		d.loadTriggers(ctx, file, o.send)
	}
	if d.network != nil {
		d.selectMonitors(o)
	}
	if o.send {
		d.checkTriggers(len(d.problems.Errors()) > 0)
	}
	errs := d.problems.Errors()
	if len(errs) == 0 {
		return d, nil
	}
	var wrong mistakes
	for _, p := range errs {
		wrong.addf("%s", clean(p.String()))
	}
	return nil, wrong
}

func (d *testDocuments) fail(file, path, format string, args ...any) {
	d.note(spec.SeverityError, file, path, format, args...)
}

func (d *testDocuments) note(s spec.Severity, file, path, format string, args ...any) {
	d.problems = append(d.problems, spec.Problem{File: file, Path: path, Message: fmt.Sprintf(format, args...), Severity: s})
}

// read reads a file, noting why it cannot be read.
func (d *testDocuments) read(file string) ([]byte, bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err // the file is named anyway
		}
		d.fail(file, "", "cannot be read: %v", err)
	}
	return data, err == nil
}

func (d *testDocuments) loadNetwork(ctx context.Context, o *testOptions) {
	data, ok := d.read(o.network)
	if !ok {
		return
	}
	opts := []spec.Option{spec.WithFile(o.network)}
	if !o.fromFiles() { // else its endpoints, and their secrets, do not matter
		resolver, err := resolverFor(o.network)
		if err != nil {
			d.fail(o.network, "", "%v", err)
			return
		}
		defer resolver.Close()
		opts = append(opts, spec.WithResolver(ctx, resolver))
		defer func() { d.resolve(ctx, resolver, o.network, d.network.Secrets) }()
	}
	network, problems := spec.ParseNetwork(data, opts...)
	d.problems = append(d.problems, problems...)
	if network != nil && !network.Type.Supported() {
		d.fail(o.network, "network_type", "%s networks are not supported yet, only EVM", network.Type)
		network = nil
	}
	d.network = network
}

// resolverFor looks secrets up for a document; those in files lie in its
// configuration folder, also those of a tenant's documents.
func resolverFor(file string) (*secrets.Resolver, error) {
	dir := filepath.Dir(file)
	if name, err := filepath.Abs(dir); err == nil {
		if slices.Contains([]string{"networks", "monitors", "triggers"}, filepath.Base(name)) {
			dir = filepath.Dir(name)
			if tenants := filepath.Dir(dir); filepath.Base(tenants) == "tenants" {
				dir = filepath.Dir(tenants)
			}
		}
	}
	return secrets.NewResolver(dir, nil)
}

// resolve makes the secrets of a document plain.
func (d *testDocuments) resolve(ctx context.Context, r spec.Resolver, file string, list func() []*spec.Secret) {
	if len(d.problems.Errors()) > 0 {
		return // reading has resolved them already, and said which are missing
	}
	for _, s := range list() {
		value, err := r.Resolve(ctx, *s)
		if err != nil {
			d.fail(file, "", "%v", err)
			continue
		}
		*s = spec.Plain(value)
	}
}

func (d *testDocuments) loadMonitors(paths []string) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || !info.IsDir() {
			d.loadMonitor(path, true)
			continue
		}
		if sub := filepath.Join(path, "monitors"); isFolder(sub) {
			path = sub // the configuration folder itself was given
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			d.fail(path, "", "cannot be read: %v", err)
		}
		found := 0
		for _, e := range entries {
			if !e.IsDir() && strings.EqualFold(filepath.Ext(e.Name()), ".json") {
				d.loadMonitor(filepath.Join(path, e.Name()), false)
				found++
			}
		}
		if found == 0 {
			d.fail(path, "", "holds no monitors, expected *.json files")
		}
	}
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (d *testDocuments) loadMonitor(file string, own bool) {
	data, ok := d.read(file)
	if !ok {
		return
	}
	m, problems := spec.ParseMonitor(data, spec.WithFile(file))
	d.problems = append(d.problems, problems...)
	if m == nil {
		return
	}
	for _, other := range d.monitors {
		if other.doc.Name == m.Name {
			d.fail(file, "name", "is the name of the monitor in %s, too", other.file)
			return
		}
	}
	d.monitors = append(d.monitors, testMonitor{m, file, own})
}

// selectMonitors leaves out the monitors of folders that are for other
// networks, and says what is unusual about the others.
func (d *testDocuments) selectMonitors(o *testOptions) {
	slug, stem := d.network.Slug, strings.TrimSuffix(filepath.Base(o.network), filepath.Ext(o.network))
	before := len(d.monitors)
	d.monitors = slices.DeleteFunc(d.monitors, func(m testMonitor) bool {
		if slices.Contains(m.doc.Networks, slug) || slices.Contains(m.doc.Networks, stem) {
			return false
		}
		if m.own {
			d.note(spec.SeverityNotice, m.file, "networks", "does not list the network %q: it is judged all the same", slug)
		}
		return !m.own
	})
	if before > 0 && len(d.monitors) == 0 {
		d.fail(strings.Join(o.monitors, ", "), "", "no monitor lists the network %q", slug)
	}
	for _, m := range d.monitors {
		if m.doc.Paused {
			d.note(spec.SeverityNotice, m.file, "paused", "the monitor is paused: it is judged all the same")
		}
		if len(m.doc.TriggerConditions) > 0 {
			d.note(spec.SeverityNotice, m.file, "trigger_conditions", "are not supported yet: they drop no match")
		}
	}
}

func (d *testDocuments) loadTriggers(ctx context.Context, file string, send bool) {
	if data, ok := d.read(file); ok {
		d.readTriggers(ctx, file, data, send)
	}
}

func (d *testDocuments) readTriggers(ctx context.Context, file string, data []byte, send bool) {
	opts := []spec.Option{spec.WithFile(file)}
	var resolver *secrets.Resolver
	if send {
		var err error
		if resolver, err = resolverFor(file); err != nil {
			d.fail(file, "", "%v", err)
			return
		}
		defer resolver.Close()
		opts = append(opts, spec.WithResolver(ctx, resolver))
	}
	list, problems := spec.ParseTriggerFile(data, opts...)
	d.problems = append(d.problems, problems...)
	for _, id := range slices.Sorted(maps.Keys(list)) {
		if other, taken := d.files[id]; taken {
			d.fail(file, id, "is an id that %s uses too", other)
			continue
		}
		t := list[id]
		d.triggers[id], d.files[id] = t, file
		if t.Type == spec.TriggerScript {
			d.note(spec.SeverityNotice, file, id+".trigger_type", "%s is not supported yet: nothing is sent through this trigger", t.Type)
		}
		if send {
			d.resolve(ctx, resolver, file, t.Secrets)
		}
	}
}

// checkTriggers wants every trigger that a match would fire. When some could
// not be read, the missing one may be among them.
func (d *testDocuments) checkTriggers(incomplete bool) {
	if incomplete {
		return
	}
	known := "none"
	if len(d.triggers) > 0 {
		known = strings.Join(slices.Sorted(maps.Keys(d.triggers)), ", ")
	}
	for _, m := range d.monitors {
		for i, id := range m.doc.Triggers {
			if d.triggers[id] == nil {
				d.fail(m.file, fmt.Sprintf("triggers[%d]", i), "there is no trigger %q in the files given with --trigger (known: %s)", id, known)
			}
		}
		if len(m.doc.Triggers) == 0 {
			d.note(spec.SeverityNotice, m.file, "triggers", "is empty: nothing is sent for this monitor")
		}
	}
}
