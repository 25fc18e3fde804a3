package manifests

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const composeFile = `
x-node: &node
  image: node
  command: [serve]
  depends_on: {cache: {condition: service_started}}
x-environment: &environment {A: "1", B: two}
services:
  a:
    <<: *node
    environment: {<<: *environment, B: three}
    ports: ["127.0.0.1:8081:8080"]
    volumes: ["data:/data", "./config:/config:ro"]
  cache: {image: cache, profiles: [x]}
volumes: {data: }
`

func TestCompose(t *testing.T) {
	got, err := parseCompose([]byte(composeFile))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Service{
		"a": {
			Command: Command{Args: []string{"serve"}, Env: map[string]string{"A": "1", "B": "three"}},
			Image:   "node", Ports: []string{"127.0.0.1:8081:8080"}, Volumes: []string{"data:/data", "./config:/config:ro"},
			Needs: []string{"cache"},
		},
		"cache": {Image: "cache", Profiles: []string{"x"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestComposeMistakes(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"unknown key", "command:", "comand:", "comand"},
		{"unknown key at the top", "volumes: {data: }", "volums: {data: }", "volums"},
		{"variable", "B: three", "B: $HOME", "$HOME"},
		{"service", "{cache: {condition", "{redis: {condition", `"redis"`},
		{"volume", `"data:/data"`, `"date:/data"`, `"date"`},
		{"key twice", "{image: cache,", "{image: cache, image: y,", "image"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(composeFile, tt.old, tt.new, 1)
			if text == composeFile {
				t.Fatalf("%q is not in the text", tt.old)
			}
			_, err := parseCompose([]byte(text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one about %s", err, tt.want)
			}
		})
	}
}

func FuzzCompose(f *testing.F) {
	f.Add([]byte(composeFile))
	f.Fuzz(func(t *testing.T, data []byte) {
		services, err := parseCompose(data)
		if err != nil {
			return
		}
		for name, s := range services {
			for _, need := range s.Needs {
				if _, ok := services[need]; !ok {
					t.Errorf("service %q needs %q, which is not there", name, need)
				}
			}
		}
	})
}
