// Package deploy_test checks what the files of this folder promise to each other
// and to the program: what no schema knows.
package deploy_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/pki"
	"github.com/ozmo-dev/ozmo/testcluster/manifests"
)

// stopLimit is how long a node may take from SIGTERM to its end.
const stopLimit = 15 * time.Second

func statefulSet(t *testing.T) *manifests.StatefulSet {
	t.Helper()
	s, err := manifests.ReadStatefulSet("kubernetes/base/statefulset.yaml", "prod", map[string]string{"ozmo-redis/url": "redis://r"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func unit(t *testing.T) *manifests.Unit {
	t.Helper()
	u, err := manifests.ReadUnit("systemd/ozmo.service", "systemd/ozmo.env")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func composeServices(t *testing.T) map[string]manifests.Service {
	t.Helper()
	s, err := manifests.ReadCompose("compose/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// decode reads one YAML document of a file that may hold several.
func decode(t *testing.T, file string, number int, to any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for range number {
		if err := decoder.Decode(new(yaml.Node)); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	if err := decoder.Decode(to); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// want compares flags of a command with what they must be.
func want(t *testing.T, who string, c *manifests.Command, flags map[string]string) {
	t.Helper()
	for flag, value := range flags {
		if got, ok := c.Get(flag); !ok || got != value {
			t.Errorf("%s: --%s is %q, want %q", who, flag, got, value)
		}
	}
}

func TestPods(t *testing.T) {
	s := statefulSet(t)
	if len(s.Pods) != 3 {
		t.Fatalf("%d pods, want 3", len(s.Pods))
	}
	var names []string
	for _, p := range s.Pods {
		names = append(names, p.Name)
	}
	for _, p := range s.Pods {
		want(t, p.Name, &p.Command, map[string]string{
			"node":           p.Name,
			"advertise":      fmt.Sprintf("%s.%s.prod.svc.cluster.local:%d", p.Name, s.Service, p.Ports["cluster"]),
			"cluster-listen": fmt.Sprintf(":%d", p.Ports["cluster"]),
			"listen":         fmt.Sprintf(":%d", p.Ports["http"]),
			"bootstrap":      strings.Join(names, ","),
			"bundle":         "/etc/ozmo/bundles/" + p.Name + ".bundle",
			"redis-url":      "redis://r",
		})
		if p.Ports["cluster"] != p.Ports["gossip"] {
			t.Errorf("%s: gossip is on port %d, want the cluster port %d", p.Name, p.Ports["gossip"], p.Ports["cluster"])
		}
		if p.Args[0] != "serve" {
			t.Errorf("%s: the command is %q", p.Name, p.Args[0])
		}
	}
}

func TestPodWithoutRedis(t *testing.T) {
	s, err := manifests.ReadStatefulSet("kubernetes/base/statefulset.yaml", "prod", nil)
	if err != nil {
		t.Fatalf("Redis must not be needed: %v", err)
	}
	if url, ok := s.Pods[0].Get("redis-url"); ok {
		t.Errorf("--redis-url is %q", url)
	}
}

func TestPodMounts(t *testing.T) {
	p := statefulSet(t).Pods[0]
	inside := func(flag string) manifests.Mount {
		path, _ := p.Get(flag)
		for _, m := range p.Mounts {
			if m.Path == path || strings.HasPrefix(path, m.Path+"/") {
				return m
			}
		}
		t.Errorf("--%s %s is in no mount", flag, path)
		return manifests.Mount{}
	}
	if m := inside("data"); m.Claim == "" || m.ReadOnly {
		t.Errorf("the data directory is in %+v, want a claim that can be written", m)
	}
	if m := inside("bundle"); m.Secret != "ozmo-bundles" || !m.ReadOnly {
		t.Errorf("the bundle is in %+v, want the secret, read only", m)
	}
	config, _ := p.Get("config")
	for _, dir := range []string{"networks", "monitors", "triggers"} {
		if !slices.ContainsFunc(p.Mounts, func(m manifests.Mount) bool {
			return m.Path == config+"/"+dir && m.ConfigMap == "ozmo-"+dir
		}) {
			t.Errorf("no ConfigMap is mounted on %s/%s", config, dir)
		}
	}
}

func TestProbes(t *testing.T) {
	p := statefulSet(t).Pods[0]
	for name, probe := range map[string]manifests.Probe{"startup": p.Startup, "liveness": p.Liveness} {
		if probe.Path != "/livez" {
			t.Errorf("the %s probe asks %s: whether a process is restarted must not depend on a quorum", name, probe.Path)
		}
		if probe.Port != p.Ports["http"] {
			t.Errorf("the %s probe asks port %d", name, probe.Port)
		}
	}
	if p.Readiness.Path != "/readyz" || p.Readiness.Port != p.Ports["http"] {
		t.Errorf("the readiness probe asks %s of port %d", p.Readiness.Path, p.Readiness.Port)
	}
	// Reading the log and the snapshots takes its time after a long life.
	if got := p.Startup.Limit(); got < 2*time.Minute {
		t.Errorf("a start is borne with for %v", got)
	}
	if got := p.Liveness.Limit(); got < 30*time.Second {
		t.Errorf("a busy node is killed after %v", got)
	}
	if rest := p.Grace - p.PreStop; rest < 2*stopLimit {
		t.Errorf("after preStop %v are left of the grace period, want twice what a stop takes: %v", rest, 2*stopLimit)
	}
	if limit, ok := p.Limits["cpu"]; ok {
		t.Errorf("CPU is limited to %s: a throttled node looks like a dead one", limit)
	}
	if p.Requests["cpu"] == "" || p.Limits["memory"] == "" || p.Requests["memory"] != p.Limits["memory"] {
		t.Errorf("asks for %v, is limited to %v", p.Requests, p.Limits)
	}
}

func TestServices(t *testing.T) {
	type service struct {
		Metadata struct{ Name string }
		Spec     struct {
			ClusterIP string            `yaml:"clusterIP"`
			Publish   bool              `yaml:"publishNotReadyAddresses"`
			Selector  map[string]string `yaml:"selector"`
			Ports     []struct {
				Port       int
				TargetPort string `yaml:"targetPort"`
				Protocol   string
			}
		}
	}
	s := statefulSet(t)
	var internal, public service
	decode(t, "kubernetes/base/services.yaml", 0, &internal)
	decode(t, "kubernetes/base/services.yaml", 1, &public)
	if internal.Metadata.Name != s.Service || internal.Spec.ClusterIP != "None" || !internal.Spec.Publish {
		t.Errorf("the service of the nodes' names is %+v: want %s, headless, with addresses that are not ready", internal, s.Service)
	}
	if public.Spec.Publish || public.Spec.ClusterIP == "None" {
		t.Errorf("the service for clients leads to nodes that are not ready: %+v", public)
	}
	for _, svc := range []service{internal, public} {
		if svc.Spec.Selector["app.kubernetes.io/name"] != "ozmo" {
			t.Errorf("%s selects %v", svc.Metadata.Name, svc.Spec.Selector)
		}
		for _, port := range svc.Spec.Ports {
			if s.Pods[0].Ports[port.TargetPort] == 0 {
				t.Errorf("%s: the container has no port %q", svc.Metadata.Name, port.TargetPort)
			}
			if svc.Spec.ClusterIP == "None" && port.Port != s.Pods[0].Ports[port.TargetPort] {
				t.Errorf("%s: a headless service cannot map port %d to %s", svc.Metadata.Name, port.Port, port.TargetPort)
			}
		}
	}
}

func TestUnit(t *testing.T) {
	u := unit(t)
	name, _ := u.Get("node")
	data, _ := u.Get("data")
	if data != "/var/lib/"+u.Value("Service.StateDirectory") {
		t.Errorf("the data directory %s is not the state directory %s, and nothing else can be written", data, u.Value("Service.StateDirectory"))
	}
	bootstrap, _ := u.Get("bootstrap")
	if !slices.Contains(strings.Split(bootstrap, ","), name) {
		t.Errorf("the example's bootstrap list %s is without its node %s", bootstrap, name)
	}
	if !slices.Equal(u.Args, []string{"serve"}) {
		t.Errorf("arguments %q: what differs belongs into the environment file", u.Args)
	}
	if u.StopTimeout < 2*stopLimit {
		t.Errorf("a stop may take %v, want %v", u.StopTimeout, 2*stopLimit)
	}
	// 78: a newer version is needed. 2 is also what a panic exits with.
	if !slices.Equal(u.NoRestartOn, []int{78}) || u.Value("Service.Restart") != "on-failure" {
		t.Errorf("Restart=%s, but for %v", u.Value("Service.Restart"), u.NoRestartOn)
	}
	users, err := os.ReadFile("systemd/ozmo.sysusers")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(users, []byte("\nu "+u.User+" ")) {
		t.Errorf("systemd/ozmo.sysusers does not make the user %q", u.User)
	}
}

func TestCompose(t *testing.T) {
	services := composeServices(t)
	init := services["init"]
	if !slices.Equal(init.Args[:2], []string{"cluster", "init"}) {
		t.Fatalf("init runs %q", init.Args)
	}
	out, nodes := init.Args[slices.Index(init.Args, "--out")+1], init.Args[slices.Index(init.Args, "--nodes")+1]
	var names []string
	for node := range strings.SplitSeq(nodes, ",") {
		name, address, _ := strings.Cut(node, "=")
		names = append(names, name)
		s, ok := services[name]
		if !ok {
			t.Errorf("init makes a bundle for %q, which is no service", name)
			continue
		}
		want(t, name, &s.Command, map[string]string{
			"node": name, "advertise": address, "bundle": out + "/" + name + ".bundle",
		})
		if !slices.Contains(s.Volumes, name+":"+s.Env["OZMO_DATA"]) {
			t.Errorf("%s has no volume of its own on %s: %q", name, s.Env["OZMO_DATA"], s.Volumes)
		}
		if s.Image != init.Image {
			t.Errorf("%s runs %q, init %q", name, s.Image, init.Image)
		}
	}
	for _, name := range names {
		s := services[name]
		want(t, name, &s.Command, map[string]string{"bootstrap": strings.Join(names, ",")})
		if url, _ := s.Get("redis-url"); !strings.HasPrefix(url, "redis://redis:") || !slices.Contains(s.Needs, "redis") {
			t.Errorf("%s uses Redis at %q, and is started after %q", name, url, s.Needs)
		}
	}
	for name, s := range services {
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s is open to the network: %s", name, port)
			}
		}
	}
}

// TestBundles compares the names under which bundles are looked for with those
// under which they are made.
func TestBundles(t *testing.T) {
	s := statefulSet(t)
	nodes := make(map[string]string)
	for _, p := range s.Pods {
		address, _ := p.Get("advertise")
		nodes[p.Name] = address
	}
	bundles, err := pki.NewBundles("ozmo", nodes)
	if err != nil {
		t.Fatal(err)
	}
	paths, err := pki.WriteBundles(t.TempDir(), bundles)
	if err != nil {
		t.Fatal(err)
	}
	var made []string
	for _, p := range paths {
		made = append(made, filepath.Base(p))
	}
	services := composeServices(t)
	for _, p := range s.Pods {
		if path, _ := p.Get("bundle"); !slices.Contains(made, filepath.Base(path)) {
			t.Errorf("%s looks for %s, but bundles are made as %q", p.Name, path, made)
		}
	}
	ending := filepath.Ext(made[0])
	for _, name := range []string{"a", "b", "c"} {
		s := services[name]
		if path, _ := s.Get("bundle"); filepath.Base(path) != name+ending {
			t.Errorf("compose.yaml: %s looks for %s, but bundles end in %s", name, path, ending)
		}
	}
}

// TestDocuments reads the examples' documents as a node would.
func TestDocuments(t *testing.T) {
	for _, dir := range []string{"compose/config", "kubernetes/example"} {
		folder, problems := spec.ReadFolder(os.DirFS(dir))
		for _, p := range problems {
			if p.Severity == spec.SeverityError {
				t.Errorf("%s: %s", dir, p)
			}
		}
		if len(folder.Networks) == 0 || len(folder.Monitors) == 0 || len(folder.Triggers) == 0 {
			t.Errorf("%s: %d networks, %d monitors, %d triggers", dir, len(folder.Networks), len(folder.Monitors), len(folder.Triggers))
		}
	}
}

// TestExampleTakesAll finds documents that lie in a folder and in no ConfigMap.
func TestExampleTakesAll(t *testing.T) {
	var k struct {
		ConfigMapGenerator []struct {
			Name  string
			Files []string
		} `yaml:"configMapGenerator"`
	}
	decode(t, "kubernetes/example/kustomization.yaml", 0, &k)
	var taken []string
	for _, g := range k.ConfigMapGenerator {
		for _, f := range g.Files {
			if "ozmo-"+filepath.Dir(f) != g.Name {
				t.Errorf("%s is in the ConfigMap %s", f, g.Name)
			}
			taken = append(taken, f)
		}
	}
	files, err := filepath.Glob("kubernetes/example/*/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	for _, f := range files {
		if f = strings.TrimPrefix(f, "kubernetes/example/"); !slices.Contains(taken, f) {
			t.Errorf("%s is in no ConfigMap", f)
		}
	}
}
