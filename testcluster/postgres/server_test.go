package postgres_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/testcluster/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPostgresServer(t *testing.T) {
	s := postgres.Start(t)
	if !strings.Contains(s.URL(), postgres.Password) {
		t.Errorf("the URL %s has no password", s.URL())
	}
	s.Query("create table t (n int, s text); insert into t values (1, 'a'), (2, null)")
	for name, harm := range map[string]func(){
		"stopped": s.Stop,
		"killed":  s.Kill,
		"frozen":  func() { s.Pause(); s.Stop() },
	} {
		harm()
		s.Start()
		if got := s.Query("select * from t order by n"); got != "1|a\n2|" {
			t.Errorf("after it was %s, the table has %q", name, got)
		}
	}
	s.Pause()
	s.Resume()
	if got := s.Query("select 1"); got != "1" {
		t.Errorf("after a pause: %q", got)
	}
}
