/* SPDX-License-Identifier: MIT */
/*
 * pagesim replay: run traces on a simulated machine and print what became of their memory; run scripts and print their
 * transcripts. Each trace has a machine of its own, one after the other.
 *
 * Standard output holds what is simulated and nothing else, so the same input gives the same bytes. How fast the host was
 * and what memory it took go to standard error, or with --host into the report.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <pagesim/contents.h>
#include <pagesim/machine_file.h>
#include <pagesim/migrate.h>
#include <pagesim/policy.h>
#include <pagesim/replay.h>
#include <pagesim/script.h>
#include <pagesim/trace_text.h>

#include "cmd.h"

/* What transcripts were recorded on. */
#define SCRIPT_MACHINE "linux-6.1"
/* Host time between two progress lines, microseconds. */
#define PROGRESS_US 200000

struct options {
	char *machine;
	char *policy;
	char *generation;
	char *seed;
	char *interval;
	char *format;
	char *contents;
	gboolean check;
	gboolean host;

	enum ps_report_format report_format;
	struct ps_replay_settings settings;
	bool headings;    /* several traces */
	unsigned reports; /* written so far */
};

static void print(GString *text)
{
	fwrite(text->str, 1, text->len, stdout);
	fflush(stdout);
	g_string_truncate(text, 0);
}

/* ---- progress */

struct progress {
	const char *name;
	gint64 next;
	bool shown;
};

static bool show_progress(void *arg, u64 accesses, u64 position, u64 size)
{
	struct progress *p = arg;
	gint64 now = g_get_monotonic_time();

	if (now < p->next)
		return true;
	p->next = now + PROGRESS_US;
	p->shown = true;
	fprintf(stderr, "\r\033[K%s: %.1f M accesses", p->name, (double)accesses / 1e6);
	if (size)
		fprintf(stderr, ", %.0f%%", 100.0 * (double)position / (double)size);
	fflush(stderr);
	return true;
}

static void end_progress(struct progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
}

/* ---- the host */

/* Resident host memory, bytes; 0 where the host does not say. */
static u64 host_resident(void)
{
	unsigned long long size, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f)
		return 0;
	if (fscanf(f, "%llu %llu", &size, &resident) != 2)
		resident = 0;
	fclose(f);
	return resident * (u64)sysconf(_SC_PAGESIZE);
}

/* ---- scripts */

static void print_transcript(void *arg, const char *text, size_t length)
{
	(void)arg;
	fwrite(text, 1, length, stdout);
	fflush(stdout);
}

/* The machine a script asks for, the one on the command line, or the one of the transcripts. */
static const char *script_machine(const struct options *o, const struct ps_script *script)
{
	if (o->machine)
		return o->machine;
	for (u32 i = 0; i < script->n; i++)
		if (script->statements[i].verb == PS_VERB_MACHINE)
			return script->statements[i].name;
	return SCRIPT_MACHINE;
}

static int run_script(struct options *o, const struct ps_script *script)
{
	struct ps_script_settings settings = {
		.generation = o->generation,
		.seed = o->settings.seed,
		.check = o->check,
		.print = print_transcript,
	};
	struct ps_machine_spec *spec;
	GError *error = NULL;
	int status = CMD_OK;

	if (o->policy || o->interval || o->format || o->contents || o->host)
		return cmd_misused(
			"%s is a script, which prints a transcript: --policy, --interval, --format, --contents and "
			"--host are for traces",
			script->name);
	spec = ps_machine_spec_load(script_machine(o, script), NULL, &error);
	if (!spec || !ps_script_run(script, spec, &settings, &error)) {
		status = cmd_fail("%s", error->message);
		g_error_free(error);
	}
	ps_machine_spec_free(spec);
	return status;
}

static int replay_script_file(struct options *o, const char *path)
{
	char *name = g_path_get_basename(path);
	GError *error = NULL;
	struct ps_script *script = ps_script_open(path, name, &error);
	int status;

	if (script) {
		status = run_script(o, script);
	} else {
		status = cmd_fail("%s", error->message);
		g_error_free(error);
	}
	ps_script_free(script);
	g_free(name);
	return status;
}

/* Statements that come as events of a trace (from a pipe, or carried by a .pgt) are put together again, line by line. */
static int replay_statements(struct options *o, struct ps_trace_reader *reader, struct ps_trace_batch *batch)
{
	GString *text = g_string_new(NULL);
	enum ps_trace_next next = PS_TRACE_BATCH;
	struct ps_script *script;
	GError *error = NULL;
	u32 line = 1;
	int status;

	for (; next == PS_TRACE_BATCH; next = ps_trace_reader_next(reader, batch, &error)) {
		if (!batch->event || batch->event->kind != PS_EVENT_STATEMENT) {
			next = PS_TRACE_FAILED;
			g_set_error(&error, PS_REPLAY_ERROR, PS_REPLAY_ERROR_TRACE,
				    "%s: statements and recorded accesses in one trace cannot be replayed",
				    ps_trace_reader_name(reader));
			break;
		}
		for (; line < batch->event->line; line++)
			g_string_append_c(text, '\n');
		g_string_append(text, batch->event->name);
	}
	script = ps_script_parse(text->str, text->len, ps_trace_reader_name(reader));
	status = script ? run_script(o, script) : cmd_fail("%s: out of memory", ps_trace_reader_name(reader));
	if (error && status != CMD_USAGE)
		status = cmd_fail("%s", error->message);
	g_clear_error(&error);
	ps_script_free(script);
	g_string_free(text, TRUE);
	return status;
}

/* ---- traces */

static void write_report(struct options *o, struct ps_replay *replay, struct ps_trace_reader *reader, double seconds,
			 u64 host_bytes)
{
	struct ps_report report;
	GString *text = g_string_new(NULL);

	ps_report_init(&report);
	ps_replay_report(replay, &report);
	report.host_seconds = seconds;
	report.host_bytes = host_bytes;
	if (o->report_format == PS_REPORT_VMSTAT && o->headings)
		g_string_append_printf(text, "%s# %s\n", o->reports ? "\n" : "", ps_trace_reader_name(reader));
	ps_report_write(&report, o->report_format, o->host, o->reports++, text);
	print(text);
	if (o->report_format == PS_REPORT_TABLE && !o->host) {
		ps_report_write_host(&report, text);
		fputs(text->str, stderr);
	}
	ps_report_destroy(&report);
	g_string_free(text, TRUE);
}

/* Replays a bulk trace whose first batch, if @next says so, has been read. */
static int replay_bulk(struct options *o, const struct ps_machine_spec *spec, struct ps_trace_reader *reader)
{
	struct progress progress = { .name = ps_trace_reader_name(reader) };
	struct ps_replay_settings settings = o->settings;
	u64 before = host_resident();
	struct ps_replay *replay;
	GError *error = NULL;
	int status = CMD_OK;
	gint64 start;

	if (isatty(STDERR_FILENO)) {
		settings.progress = show_progress;
		settings.arg = &progress;
	}
	replay = ps_replay_new(spec, &settings, &error);
	if (!replay) {
		status = cmd_fail("%s", error->message);
		g_error_free(error);
		return status;
	}
	start = g_get_monotonic_time();
	progress.next = start + PROGRESS_US;
	if (!ps_replay_run(replay, reader, &error))
		status = CMD_FAILED;
	end_progress(&progress);
	if (error && g_error_matches(error, PS_REPLAY_ERROR, PS_REPLAY_ERROR_SCRIPT)) {
		/* Nothing has happened; the caller runs it as what it is. */
		g_error_free(error);
		ps_replay_free(replay);
		return -1;
	}
	/* What was replayed before an error counts, and is shown. */
	write_report(o, replay, reader, (double)(g_get_monotonic_time() - start) / 1e6,
		     host_resident() > before ? host_resident() - before : 0);
	if (error) {
		cmd_fail("%s", error->message);
		g_error_free(error);
	}
	ps_replay_free(replay);
	return status;
}

/* The first bytes of a file say whether it is a script. False for what cannot be read: the reader will say why. */
static bool is_script(const char *path)
{
	char bytes[4096];
	ssize_t n;
	int fd;

	if (!strcmp(path, "-"))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return false;
	n = pread(fd, bytes, sizeof(bytes), 0);
	close(fd);
	return n > 0 && ps_trace_sniff(bytes, (size_t)n) == PS_FORM_SCRIPT;
}

static int replay_one(struct options *o, const struct ps_machine_spec *spec, const char *path)
{
	struct ps_trace_reader *reader;
	struct ps_trace_batch batch;
	GError *error = NULL;
	int status;

	if (is_script(path))
		return replay_script_file(o, path);
	reader = ps_trace_reader_open(path, &error);
	if (!reader) {
		status = cmd_fail("%s", error->message);
		g_error_free(error);
		return status;
	}
	if (!strcmp(ps_trace_reader_info(reader)->source, "script")) {
		enum ps_trace_next next = ps_trace_reader_next(reader, &batch, &error);

		if (next == PS_TRACE_BATCH) {
			status = replay_statements(o, reader, &batch);
		} else {
			status = next == PS_TRACE_END ? CMD_OK : cmd_fail("%s", error->message);
			g_clear_error(&error);
		}
	} else {
		status = replay_bulk(o, spec, reader);
		if (status < 0)
			status = cmd_fail("%s: a script inside a trace of another source", path);
	}
	ps_trace_reader_free(reader);
	return status;
}

/* ---- options */

static bool parse_number(const char *word, u64 *ret)
{
	return g_ascii_string_to_unsigned(word, 10, 0, G_MAXUINT64, ret, NULL);
}

static int contents_from_word(const char *word)
{
	for (int c = 0; c < PS_NR_CONTENTS; c++)
		if (!strcmp(word, ps_contents_name((enum ps_contents)c)))
			return c;
	return -ENOENT;
}

/* Return: CMD_OK, or the status of the complaint. */
static int interpret(struct options *o)
{
	int format = o->format ? ps_report_format_from_word(o->format) : PS_REPORT_TABLE;
	int contents = o->contents ? contents_from_word(o->contents) : PS_CONTENTS_NONE;

	if (format < 0)
		return cmd_misused("expected a format (table, json, csv, vmstat), found '%s'", o->format);
	if (contents < 0)
		return cmd_misused("expected contents (none, tag, bytes), found '%s'", o->contents);
	if (o->seed && !parse_number(o->seed, &o->settings.seed))
		return cmd_misused("expected a number as seed, found '%s'", o->seed);
	if (o->interval && (ps_parse_time(o->interval, &o->settings.interval_ns) || !o->settings.interval_ns))
		return cmd_misused("expected a time as interval (10ms, 1s), found '%s'", o->interval);
	if (o->generation && !ps_generation_find(o->generation)) {
		GString *known = g_string_new(NULL);
		const struct migrate_recipe *recipe;
		int status;

		for (unsigned i = 0; (recipe = ps_generation_at(i)); i++)
			g_string_append_printf(known, "%s%s", i ? ", " : "", recipe->name);
		status = cmd_misused("expected a generation (%s), found '%s'", known->str, o->generation);
		g_string_free(known, TRUE);
		return status;
	}
	if (o->policy) {
		struct ps_policy_settings policy;
		GError *error = NULL;

		if (!ps_policy_parse(o->policy, &policy, &error)) {
			int status = cmd_misused("%s", error->message);

			g_error_free(error);
			return status;
		}
	}
	o->report_format = (enum ps_report_format)format;
	o->settings.contents = (enum ps_contents)contents;
	o->settings.policy = o->policy;
	o->settings.generation = o->generation;
	o->settings.check = o->check;
	return CMD_OK;
}

int cmd_replay(int argc, char **argv)
{
	struct options o = { 0 };
	const GOptionEntry entries[] = {
		{ "machine", 0, 0, G_OPTION_ARG_FILENAME, &o.machine, "the machine (default " PS_MACHINE_DEFAULT ")",
		  "MACHINE" },
		{ "policy", 0, 0, G_OPTION_ARG_STRING, &o.policy, "who moves pages (default none)", "POLICY" },
		{ "generation", 0, 0, G_OPTION_ARG_STRING, &o.generation,
		  "generation of the migrate engine (default 6.1)", "NAME" },
		{ "seed", 0, 0, G_OPTION_ARG_STRING, &o.seed, "seed of everything random (default 0)", "N" },
		{ "interval", 0, 0, G_OPTION_ARG_STRING, &o.interval, "report every TIME of simulated time, too",
		  "TIME" },
		{ "format", 0, 0, G_OPTION_ARG_STRING, &o.format, "table (default), json, csv or vmstat", "FORMAT" },
		{ "check", 0, 0, G_OPTION_ARG_NONE, &o.check, "check all invariants of the machine", NULL },
		{ "contents", 0, 0, G_OPTION_ARG_STRING, &o.contents, "of frames: none (default), tag or bytes",
		  "WHAT" },
		{ "host", 0, 0, G_OPTION_ARG_NONE, &o.host, "put the host's speed and memory into the report", NULL },
		{ 0 },
	};
	struct ps_machine_spec *spec = NULL;
	GError *error = NULL;
	int status;

	if (!cmd_parse(&argc, &argv, entries, "TRACE...",
		       "Runs each trace on a simulated machine of its own and prints a report; runs each script and "
		       "prints its\n"
		       "transcript. '-' is standard input.",
		       &status))
		goto out_free;
	if (argc < 2) {
		status = cmd_misused("expected a trace");
		goto out_free;
	}
	status = interpret(&o);
	if (status != CMD_OK)
		goto out_free;
	spec = ps_machine_spec_load(o.machine ? o.machine : PS_MACHINE_DEFAULT, NULL, &error);
	if (!spec) {
		status = cmd_fail("%s", error->message);
		g_error_free(error);
		goto out_free;
	}
	o.headings = argc > 2;
	for (int i = 1; i < argc && status == CMD_OK; i++)
		status = replay_one(&o, spec, argv[i]);
	if (o.reports) {
		GString *text = g_string_new(NULL);

		ps_report_close(o.report_format, o.reports, text);
		print(text);
		g_string_free(text, TRUE);
	}
out_free:
	ps_machine_spec_free(spec);
	g_free(o.machine);
	g_free(o.policy);
	g_free(o.generation);
	g_free(o.seed);
	g_free(o.interval);
	g_free(o.format);
	g_free(o.contents);
	return status;
}
