package deploy_test

import (
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// stage is a FROM of a Dockerfile and what follows it.
type stage struct {
	name, from string
	steps      []step
}

type step struct{ op, text string }

// texts are those of an instruction.
func (s stage) texts(op string) []string {
	var out []string
	for _, st := range s.steps {
		if st.op == op {
			out = append(out, st.text)
		}
	}
	return out
}

var instruction = regexp.MustCompile(`^(FROM|ARG|ENV|LABEL|RUN|COPY|USER|EXPOSE|VOLUME|WORKDIR|STOPSIGNAL|ENTRYPOINT|CMD) +(\S.*)$`)

// dockerfile reads the stages. An instruction that it does not know is an error.
func dockerfile(t *testing.T) []stage {
	t.Helper()
	data, err := os.ReadFile("docker/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	text := strings.ReplaceAll(strings.Join(lines, "\n"), "\\\n", "")
	var stages []stage
	for line := range strings.SplitSeq(text, "\n") {
		m := instruction.FindStringSubmatch(line)
		switch {
		case m == nil:
			t.Fatalf("no instruction: %s", line)
		case m[1] == "FROM":
			words := strings.Fields(m[2])
			if len(words) > 1 && strings.HasPrefix(words[0], "--platform=") {
				words = words[1:]
			}
			if len(words) != 3 || words[1] != "AS" {
				t.Fatalf("want FROM image AS name: %s", line)
			}
			stages = append(stages, stage{name: words[2], from: words[0]})
		case len(stages) == 0:
			t.Fatalf("before the first FROM: %s", line)
		default:
			last := &stages[len(stages)-1]
			last.steps = append(last.steps, step{m[1], m[2]})
		}
	}
	return stages
}

func TestDockerfile(t *testing.T) {
	stages := dockerfile(t)
	var names []string
	for _, s := range stages {
		names = append(names, s.name)
	}
	if !slices.Equal(names, []string{"build", "devchain", "ozmo"}) {
		t.Fatalf("stages %q: the last one is what is built when none is named", names)
	}
	user := regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`)
	for _, s := range stages[1:] {
		if s.from != "scratch" {
			t.Errorf("%s is made from %s", s.name, s.from)
		}
		if got := s.texts("USER"); len(got) != 1 || !user.MatchString(got[0]) {
			t.Errorf("%s runs as %q, want numbers that are not root's", s.name, got)
		}
		if got := s.texts("ENTRYPOINT"); len(got) != 1 || got[0] != `["/usr/local/bin/`+s.name+`"]` {
			t.Errorf("%s starts %q; there is no shell", s.name, got)
		}
		if got := s.texts("RUN"); len(got) > 0 {
			t.Errorf("%s runs %q: there is nothing to run", s.name, got)
		}
		for _, from := range s.texts("COPY") {
			if !strings.HasPrefix(from, "--from=build ") {
				t.Errorf("%s copies from outside the build: %s", s.name, from)
			}
		}
	}
	// The user of the pods owns the folders that volumes are mounted on.
	ids := stages[2].texts("USER")[0]
	if !slices.ContainsFunc(stages[2].texts("COPY"), func(c string) bool {
		return strings.Contains(c, "--chown="+ids+" /rootfs/var/ /var/")
	}) {
		t.Errorf("the data directory does not belong to %s", ids)
	}
	pod, err := os.ReadFile("kubernetes/base/statefulset.yaml")
	if err != nil {
		t.Fatal(err)
	}
	uid, _, _ := strings.Cut(ids, ":")
	if !strings.Contains(string(pod), "runAsUser: "+uid+"\n") {
		t.Errorf("the pods do not run as the image's user %s", uid)
	}
}

// TestDockerfileBuildsAsMakefile compares the commands that build the programs.
func TestDockerfileBuildsAsMakefile(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	build := regexp.MustCompile(`CGO_ENABLED=0 .*go build .*`)
	plain := func(s string) string {
		s = strings.NewReplacer("$(VERSION)", "$VERSION", "'$(BIN)/'", "/out/", "'", `"`,
			"GOOS=$TARGETOS ", "", "GOARCH=$TARGETARCH ", "").Replace(s)
		return strings.Join(strings.Fields(s), " ")
	}
	want := plain(string(build.Find(makefile)))
	got := ""
	for _, run := range dockerfile(t)[0].texts("RUN") {
		got += build.FindString(run)
	}
	if want == "" || plain(got) != want {
		t.Errorf("the Dockerfile builds with\n%s\nthe Makefile with\n%s", plain(got), want)
	}
}

// TestDockerContext finds packages of the programs that the builder would not get.
func TestDockerContext(t *testing.T) {
	data, err := os.ReadFile("docker/Dockerfile.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	var taken []string
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "!"); ok {
			taken = append(taken, name)
		}
	}
	const module = "github.com/ozmo-dev/ozmo"
	list := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", "./cmd/ozmo", "./cmd/devchain")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	found := 0
	for pkg := range strings.FieldsSeq(string(out)) {
		folder, ok := strings.CutPrefix(pkg, module+"/")
		if !ok {
			continue
		}
		found++
		top, _, _ := strings.Cut(folder, "/")
		if !slices.Contains(taken, top) {
			t.Errorf("package %s is not in the context: %s is not among %q", folder, top, taken)
		}
		if slices.Contains(strings.Split(folder, "/"), "testdata") {
			t.Errorf("package %s is not in the context", path.Join(module, folder))
		}
	}
	if found < 10 {
		t.Errorf("only %d packages are found", found)
	}
}
