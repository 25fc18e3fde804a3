package spec

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func at(s string) time.Time {
	t, err := time.Parse("Mon 2006-01-02 15:04:05", s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestScheduleNext(t *testing.T) {
	for _, tc := range []struct{ schedule, from, want string }{
		{"0 */5 * * * *", "Mon 2024-01-01 00:00:00", "Mon 2024-01-01 00:05:00"},
		{"*/15 * * * * *", "Mon 2024-01-01 00:00:59", "Mon 2024-01-01 00:01:00"},
		{"*/5 * * * *", "Mon 2024-01-01 00:00:00", "Mon 2024-01-01 00:05:00"}, // five fields
		{"0 0 12 * * 1", "Tue 2024-01-02 00:00:00", "Mon 2024-01-08 12:00:00"},
		{"0 0 12 * * 0", "Mon 2024-01-01 00:00:00", "Sun 2024-01-07 12:00:00"},
		{"0 0 12 * * 7", "Mon 2024-01-01 00:00:00", "Sun 2024-01-07 12:00:00"},
		{"0 0 12 * * 6-7", "Sat 2024-01-06 12:00:00", "Sun 2024-01-07 12:00:00"},
		{"0 0 12 * * 5,7", "Fri 2024-01-05 12:00:00", "Sun 2024-01-07 12:00:00"},
		{"0 0 12 * * SAT-SUN", "Mon 2024-01-01 00:00:00", "Sat 2024-01-06 12:00:00"},
		{"0 0 12 * * Wednesday", "Mon 2024-01-01 00:00:00", "Wed 2024-01-03 12:00:00"},
		{"0 0 12 * * 4/2", "Mon 2024-01-01 00:00:00", "Thu 2024-01-04 12:00:00"},
		{"0 0 12 * * 4/2", "Sat 2024-01-06 12:00:00", "Thu 2024-01-11 12:00:00"}, // not Sunday as 8
		{"0 0 0 1 Jan-Mar *", "Mon 2024-01-01 00:00:00", "Thu 2024-02-01 00:00:00"},
		{"0 0 0 1 june ?", "Mon 2024-01-01 00:00:00", "Sat 2024-06-01 00:00:00"},
		// Both day fields must hold: the first Friday the 13th, not every Friday.
		{"0 0 0 13 * FRI", "Mon 2024-01-01 00:00:00", "Fri 2024-09-13 00:00:00"},
		{"0 0 13 * FRI", "Mon 2024-01-01 00:00:00", "Fri 2024-09-13 00:00:00"},
		{"0 0 0 29 2 MON", "Mon 2024-01-01 00:00:00", "Mon 2044-02-29 00:00:00"},
		{"0 0 0 29 2 *", "Sun 2096-03-04 00:00:00", "Fri 2104-02-29 00:00:00"},
		{"0 0 0 1 1 * 2030", "Mon 2024-01-01 00:00:00", "Tue 2030-01-01 00:00:00"},
		{"0 0 0 1 1 * 2024-2030/3", "Mon 2024-01-01 00:00:00", "Fri 2027-01-01 00:00:00"},
		{"0 0 0 31 12 * 2025,2099", "Wed 2025-12-31 00:00:00", "Thu 2099-12-31 00:00:00"},
		{"30 30 6 * * * *", "Mon 2024-01-01 00:00:00", "Mon 2024-01-01 06:30:30"},
		{"@hourly", "Mon 2024-01-01 00:30:00", "Mon 2024-01-01 01:00:00"},
		{"@Daily", "Mon 2024-01-01 00:30:00", "Tue 2024-01-02 00:00:00"},
		{"@weekly", "Mon 2024-01-01 00:30:00", "Sun 2024-01-07 00:00:00"},
		{"@yearly", "Mon 2024-01-01 00:30:00", "Wed 2025-01-01 00:00:00"},
		{"@monthly", "Mon 2024-01-01 00:30:00", "Thu 2024-02-01 00:00:00"},
		{"0 0 0 30 2 *", "Mon 2024-01-01 00:00:00", ""},
		{"0 0 0 1 1 * 2020", "Mon 2024-01-01 00:00:00", ""},
	} {
		s, err := ParseSchedule(tc.schedule)
		if err != nil {
			t.Errorf("%q: %v", tc.schedule, err)
			continue
		}
		var want time.Time
		if tc.want != "" {
			want = at(tc.want)
		}
		if got := s.Next(at(tc.from)); !got.Equal(want) {
			t.Errorf("%q after %s: %s, want %s", tc.schedule, tc.from, got, tc.want)
		}
	}
	if got := (Schedule{}).Next(at("Mon 2024-01-01 00:00:00")); !got.IsZero() {
		t.Errorf("the zero schedule fires at %v", got)
	}
}

func TestScheduleInUTC(t *testing.T) {
	s, err := ParseSchedule("0 0 12 * * *")
	if err != nil {
		t.Fatal(err)
	}
	local := time.Date(2024, 1, 1, 0, 0, 0, 0, time.FixedZone("east", 5*3600))
	if got := s.Next(local); !got.Equal(at("Mon 2024-01-01 12:00:00")) || got.Location() != time.UTC {
		t.Errorf("got %v", got)
	}
}

func TestScheduleRefused(t *testing.T) {
	for _, schedule := range []string{
		"", " ", "*", "* * * *", "* * * * * * * *", "60 * * * * *", "* 60 * * * *", "* * 24 * * *", "* * * 0 * *",
		"* * * 32 * *", "* * * * 0 *", "* * * * 13 *", "* * * * * 8", "* * * L * *", "* * * 15W * *", "* * * * * 5#2",
		"* * * * * MUN", "*/0 * * * * *", "*/x * * * * *", "5-1 * * * * *", "1- * * * * *", "-1 * * * * *", "+1 * * * * *",
		"1,,2 * * * * *", "@reboot", "@every 5s", "* * * * * * 1969", "* * * * * * 2101", "1.5 * * * * *", "0 0 0 * * FRI-TUE",
		"*/99999999999999999999 * * * * *",
	} {
		if _, err := ParseSchedule(schedule); !errors.Is(err, ErrSchedule) {
			t.Errorf("%q: %v", schedule, err)
		}
	}
}

// Whatever is accepted fires in the future and in order.
func TestScheduleProperties(t *testing.T) {
	field := func(lo, hi int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			a := rapid.IntRange(lo, hi).Draw(t, "a")
			b := rapid.IntRange(a, hi).Draw(t, "b")
			step := rapid.IntRange(1, 70).Draw(t, "step")
			return rapid.SampledFrom([]string{"*", strconv.Itoa(a), strconv.Itoa(a) + "-" + strconv.Itoa(b), strconv.Itoa(a) + "/" + strconv.Itoa(step), "*/" + strconv.Itoa(step)}).Draw(t, "form")
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		text := field(0, 59).Draw(t, "s") + " " + field(0, 59).Draw(t, "m") + " " + field(0, 23).Draw(t, "h") + " " +
			field(1, 31).Draw(t, "d") + " " + field(1, 12).Draw(t, "mon") + " " + field(0, 7).Draw(t, "wd")
		s, err := ParseSchedule(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		from := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "from"), 0)
		first := s.Next(from)
		if first.IsZero() {
			return // like 31 February
		}
		if !first.After(from) {
			t.Fatalf("%q: %v is not after %v", text, first, from)
		}
		if again := s.Next(first.Add(-time.Nanosecond)); !again.Equal(first) {
			t.Fatalf("%q: %v, then %v", text, first, again)
		}
	})
}
