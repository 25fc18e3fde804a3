package manifests

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const statefulSet = `
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db-internal
  template:
    spec:
      terminationGracePeriodSeconds: 30
      containers:
        - args: [run, --name=$(NAME), --at=$(NAME).$(ZONE):1, "--price=$$(NAME) $5"]
          env:
            - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
            - {name: ZONE, value: "$(NAME)-zone"}
            - {name: URL, valueFrom: {secretKeyRef: {name: s, key: url, optional: true}}}
          ports: [{name: http, containerPort: 8080}]
          startupProbe: {httpGet: {path: /up, port: http}, periodSeconds: 1, failureThreshold: 60, initialDelaySeconds: 2}
          livenessProbe: {httpGet: {path: /up, port: 8081}}
          readinessProbe: {httpGet: {path: /in, port: http}, timeoutSeconds: 4, successThreshold: 2}
          lifecycle: {preStop: {sleep: {seconds: 5}}}
          resources: {requests: {cpu: 100m}, limits: {memory: 1Gi}}
          volumeMounts:
            - {name: data, mountPath: /data}
            - {name: keys, mountPath: /keys, readOnly: true}
            - {name: docs, mountPath: /docs}
      volumes:
        - {name: keys, secret: {secretName: the-keys}}
        - {name: docs, configMap: {name: the-docs}}
  volumeClaimTemplates: [{metadata: {name: data}}]
`

func TestStatefulSet(t *testing.T) {
	got, err := parseStatefulSet([]byte(statefulSet), "prod", map[string]string{"s/url": "redis://x"})
	if err != nil {
		t.Fatal(err)
	}
	pod := func(name string) Pod {
		return Pod{
			Name: name,
			Command: Command{
				Args: []string{"run", "--name=" + name, "--at=" + name + "." + name + "-zone:1", "--price=$(NAME) $5"},
				Env:  map[string]string{"NAME": name, "ZONE": name + "-zone", "URL": "redis://x"},
			},
			Ports: map[string]int{"http": 8080},
			Mounts: []Mount{
				{Path: "/data", Claim: "data"},
				{Path: "/keys", Secret: "the-keys", ReadOnly: true},
				{Path: "/docs", ConfigMap: "the-docs"},
			},
			Startup:   Probe{"/up", 8080, 2 * time.Second, time.Second, time.Second, 60, 1},
			Liveness:  Probe{"/up", 8081, 0, 10 * time.Second, time.Second, 3, 1},
			Readiness: Probe{"/in", 8080, 0, 10 * time.Second, 4 * time.Second, 3, 2},
			PreStop:   5 * time.Second, Grace: 30 * time.Second,
			Requests: map[string]string{"cpu": "100m"}, Limits: map[string]string{"memory": "1Gi"},
		}
	}
	want := &StatefulSet{Name: "db", Service: "db-internal", Pods: []Pod{pod("db-0"), pod("db-1")}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestStatefulSetMistakes(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"kind", "kind: StatefulSet", "kind: Deployment", "Deployment"},
		{"no replicas", "replicas: 2", "replicas: 0", "replicas is 0"},
		{"no container", "containers:", "initContainers:", "0 containers"},
		{"variable that is not set", "--name=$(NAME)", "--name=$(NAM)", "$(NAM) is not set"},
		{"variable set later", "value: \"$(NAME)-zone\"", "value: $(URL)", "$(URL) is not set"},
		{"unknown field", "fieldPath: metadata.name", "fieldPath: spec.x", "spec.x"},
		{"secret", ", optional: true", "", "s/url"},
		{"probe's port", "port: http}, periodSeconds", "port: web}, periodSeconds", `"web"`},
		{"probe's kind", "livenessProbe: {httpGet: {path: /up, port: 8081}}", "livenessProbe: {exec: {}}", "livenessProbe"},
		{"volume", "{name: keys, secret", "{name: kays, secret", `"keys"`},
		{"no YAML", "kind:", "kind: {", "yaml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(statefulSet, tt.old, tt.new, 1)
			if text == statefulSet {
				t.Fatalf("%q is not in the text", tt.old)
			}
			_, err := parseStatefulSet([]byte(text), "prod", nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one about %s", err, tt.want)
			}
		})
	}
}

func FuzzStatefulSet(f *testing.F) {
	f.Add([]byte(statefulSet))
	f.Add([]byte("kind: StatefulSet\nspec: {replicas: 1, template: {spec: {containers: [{args: [$(x]}]}}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseStatefulSet(data, "ns", nil)
		if err == nil && len(s.Pods) == 0 {
			t.Error("neither pods nor an error")
		}
	})
}
