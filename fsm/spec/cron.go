package spec

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// ErrSchedule is wrapped by the errors of ParseSchedule.
var ErrSchedule = errors.New("not a cron schedule")

// Schedule is a parsed cron schedule. It fires in UTC.
type Schedule struct {
	spec  cron.SpecSchedule
	years map[int]bool // nil: every year
}

const (
	minYear = 1970
	maxYear = 2100
	sunday7 = 7 // the other number of Sunday
)

// cronField is the range of one field and the names it knows.
type cronField struct {
	name   string
	lo, hi int
	names  map[string]int
}

var (
	fieldSecond = cronField{name: "second", lo: 0, hi: 59}
	fieldMinute = cronField{name: "minute", lo: 0, hi: 59}
	fieldHour   = cronField{name: "hour", lo: 0, hi: 23}
	fieldDay    = cronField{name: "day of month", lo: 1, hi: 31}
	fieldMonth  = cronField{name: "month", lo: 1, hi: 12, names: monthNames()}
	// 0 and 7 are both Sunday.
	fieldWeekday = cronField{name: "day of week", lo: 0, hi: sunday7, names: weekdayNames()}
	fieldYear    = cronField{name: "year", lo: minYear, hi: maxYear}
)

func monthNames() map[string]int {
	names := make(map[string]int)
	for m := time.January; m <= time.December; m++ {
		full := strings.ToLower(m.String())
		names[full], names[full[:3]] = int(m), int(m)
	}
	return names
}

func weekdayNames() map[string]int {
	names := make(map[string]int)
	for d := time.Sunday; d <= time.Saturday; d++ {
		full := strings.ToLower(d.String())
		names[full], names[full[:3]] = int(d), int(d)
	}
	return names
}

var cronShorthands = map[string]string{
	"@yearly": "0 0 0 1 1 *", "@annually": "0 0 0 1 1 *",
	"@monthly": "0 0 0 1 * *", "@weekly": "0 0 0 * * 0",
	"@daily": "0 0 0 * * *", "@midnight": "0 0 0 * * *", "@hourly": "0 0 * * * *",
}

// ParseSchedule reads a cron schedule: "second minute hour day-of-month month
// day-of-week [year]", or five fields without seconds, or a shorthand such as
// @hourly. Weekdays count from 0 = Sunday to 7 = Sunday. A day must satisfy
// both day fields. Errors wrap ErrSchedule.
func ParseSchedule(s string) (Schedule, error) {
	text := strings.TrimSpace(s)
	if strings.HasPrefix(text, "@") {
		full, ok := cronShorthands[strings.ToLower(text)]
		if !ok {
			return Schedule{}, fmt.Errorf("%w: unknown shorthand, expected @yearly, @monthly, @weekly, @daily or @hourly", ErrSchedule)
		}
		text = full
	}
	fields := strings.Fields(text)
	switch len(fields) {
	case 0:
		return Schedule{}, fmt.Errorf("%w: it is empty", ErrSchedule)
	case 5:
		fields = append([]string{"0"}, fields...)
	case 6, 7:
	default:
		return Schedule{}, fmt.Errorf("%w: it has %d fields, expected 6 (second minute hour day month weekday), 7 with a year, or 5 without seconds",
			ErrSchedule, len(fields))
	}
	out := Schedule{spec: cron.SpecSchedule{Location: time.UTC}}
	for i, f := range []struct {
		field cronField
		bits  *uint64
	}{
		{fieldSecond, &out.spec.Second},
		{fieldMinute, &out.spec.Minute},
		{fieldHour, &out.spec.Hour},
		{fieldDay, &out.spec.Dom},
		{fieldMonth, &out.spec.Month},
		{fieldWeekday, &out.spec.Dow},
	} {
		if err := f.field.each(fields[i], func(v int) { *f.bits |= 1 << v }); err != nil {
			return Schedule{}, err
		}
	}
	out.spec.Dow = out.spec.Dow&0x7f | out.spec.Dow>>7&1 // 7 is Sunday too
	// The library takes a day that satisfies either day field, unless one is
	// marked as a star: then both must hold, which is what the peer does.
	const star = 1 << 63
	out.spec.Dom |= star
	if len(fields) == 7 && fields[6] != "*" && fields[6] != "?" {
		out.years = make(map[int]bool)
		if err := fieldYear.each(fields[6], func(y int) { out.years[y] = true }); err != nil {
			return Schedule{}, err
		}
	}
	return out, nil
}

// each calls set for every value of a field: a comma-separated list of *, n,
// a-b, and each of them with /step.
func (f cronField) each(text string, set func(int)) error {
	for part := range strings.SplitSeq(text, ",") {
		span, stepText, stepped := strings.Cut(part, "/")
		step := 1
		if stepped {
			var err error
			if step, err = strconv.Atoi(stepText); err != nil || step < 1 {
				return fmt.Errorf("%w: the %s field has the step %s, expected a number of at least 1", ErrSchedule, f.name, quote(stepText))
			}
		}
		lo, hi, err := f.span(span, stepped)
		if err != nil {
			return err
		}
		for v := lo; v <= hi; v += min(step, maxYear) {
			set(v)
		}
	}
	return nil
}

func (f cronField) span(text string, open bool) (lo, hi int, err error) {
	end := f.hi
	if f.hi == sunday7 { // an open end must not count Sunday twice
		end = int(time.Saturday)
	}
	if text == "*" || text == "?" {
		return f.lo, end, nil
	}
	first, last, isRange := strings.Cut(text, "-")
	if lo, err = f.value(first); err != nil {
		return 0, 0, err
	}
	switch {
	case isRange:
		if hi, err = f.value(last); err != nil {
			return 0, 0, err
		}
		if f.hi == sunday7 && hi == 0 && lo > 0 { // MON-SUN
			hi = sunday7
		}
	case open: // n/step runs to the end
		hi = max(lo, end)
	default:
		hi = lo
	}
	if lo > hi {
		return 0, 0, fmt.Errorf("%w: the %s field has the range %s, which runs backwards", ErrSchedule, f.name, quote(text))
	}
	return lo, hi, nil
}

func (f cronField) value(text string) (int, error) {
	if v, ok := f.names[strings.ToLower(text)]; ok {
		return v, nil
	}
	v, err := strconv.Atoi(text)
	if err != nil || v < f.lo || v > f.hi || digits(text) != len(text) {
		return 0, fmt.Errorf("%w: the %s field has %s, expected %d to %d", ErrSchedule, f.name, quote(text), f.lo, f.hi)
	}
	return v, nil
}

// horizonYears is how far ahead Next looks: 29 February falls on a given
// weekday every 28 years, 40 across the year 2100.
const horizonYears = 41

// Next is the first firing after t, or the zero time when there is none within
// 41 years (until 2100 when the schedule names years).
func (s Schedule) Next(t time.Time) time.Time {
	if s.spec.Location == nil {
		return time.Time{} // never parsed
	}
	t = t.UTC()
	last := t.Year() + horizonYears
	if s.years != nil {
		last = max(last, maxYear)
	}
	for t.Year() <= last {
		next := s.spec.Next(t)
		switch {
		case next.IsZero(): // the library looks five years ahead
			t = endOfYear(t.Year() + 5)
		case s.years == nil || s.years[next.Year()]:
			return next
		default:
			t = endOfYear(next.Year())
		}
	}
	return time.Time{}
}

// endOfYear is the last second of a year: the firing after it is the first one
// of the years that follow.
func endOfYear(year int) time.Time {
	return time.Date(year, time.December, 31, 23, 59, 59, 0, time.UTC)
}
