/* SPDX-License-Identifier: MIT */
/*
 * pagesim verify: run scripts and compare what they print with transcripts recorded on a real kernel. NAME.pgs is compared
 * with NAME.out beside it, whose first line says where it was recorded. Every script ends up in one of three columns:
 *
 *   agree           the same bytes
 *   differ          the first line that differs is shown, both sides
 *   not supported   the script uses a word this build does not have, or (--on-linux) one no real kernel has
 *
 * With --on-linux the transcripts are made now: tools/oracle plays all the scripts on a real kernel in an emulated machine and
 * leaves what came out in a folder, which takes the place of the recorded ones.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <glib/gstdio.h>

#include <pagesim/machine_file.h>
#include <pagesim/script.h>
#include <pagesim/trace_text.h>

#include "cmd.h"

/* Where the oracle is: written by the build. */
#ifndef PAGESIM_SOURCE_ORACLE
#define PAGESIM_SOURCE_ORACLE ""
#endif
#ifndef PAGESIM_LIBEXEC_FROM_BIN
#define PAGESIM_LIBEXEC_FROM_BIN ""
#endif

/* What the last line of a transcript says where a real kernel cannot follow (tools/recorder/guest/play.c). */
static const char *const not_on_linux[] = { ": a real kernel has no '", " cannot be asked of a real kernel",
					    " cannot be made on a real kernel" };

struct options {
	char *machine, *generation, *known, *kernel, *modules, *oracle;
	gboolean check, quiet, on_linux;
	char *transcripts; /* the folder the oracle has filled; NULL: they lie beside the scripts */
};

struct totals {
	unsigned int agree, differ, unsupported, broken;
	unsigned int surprises; /* not supported, though nobody said that it may be */
	GHashTable *known;      /* scripts that may be unsupported, by path below their folder; NULL: any may */
};

/* folder/name.pgs: how the list of known gaps names a script. */
static char *short_name(const char *path)
{
	char *dir = g_path_get_dirname(path), *folder = g_path_get_basename(dir), *name = g_path_get_basename(path);
	char *result = g_build_filename(folder, name, NULL);

	g_free(dir);
	g_free(folder);
	g_free(name);
	return result;
}

/* Reads the list: one script a line, # begins a comment. */
static GHashTable *read_known(const char *path, GError **error)
{
	GHashTable *known;
	char *text;
	char **lines;

	if (!g_file_get_contents(path, &text, NULL, error))
		return NULL;
	known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	lines = g_strsplit(text, "\n", -1);
	for (char **line = lines; *line; line++) {
		char *comment = strchr(*line, '#');

		if (comment)
			*comment = '\0';
		if (*g_strstrip(*line))
			g_hash_table_add(known, g_strdup(*line));
	}
	g_strfreev(lines);
	g_free(text);
	return known;
}

static void collect(void *arg, const char *text, size_t length)
{
	g_string_append_len(arg, text, (gssize)length);
}

/* The line that begins at offset `at`, without its newline. */
static char *line_at(const char *text, size_t at)
{
	const char *end = strchr(text + at, '\n');

	return end ? g_strndup(text + at, (gsize)(end - text - at)) : g_strdup(text + at);
}

/* Prints the first difference: line number, both sides, and the statement it belongs to. */
static void print_difference(const char *side, const char *want, const char *have)
{
	size_t i = 0, start = 0, statement = 0;
	unsigned int line = 2; /* the first line of the file is its header */
	char *a, *b, *s;

	for (; want[i] && want[i] == have[i]; i++) {
		if (want[i] != '\n')
			continue;
		start = i + 1;
		line++;
		if (want[start] == '>')
			statement = start;
	}
	s = line_at(want, statement);
	a = line_at(want, start);
	b = line_at(have, start);
	printf("    line %u, after '%s'\n      %-9s %s\n      %-9s %s\n", line, s, side, *a ? a : "(nothing more)",
	       "pagesim", *b ? b : "(nothing more)");
	g_free(s);
	g_free(a);
	g_free(b);
}

/* The transcript a script is compared with. */
static char *transcript_path(const struct options *options, const char *path)
{
	g_autofree char *stem = g_strndup(path, strlen(path) - strlen(".pgs")), *name = g_path_get_basename(stem),
			*file = g_strconcat(options->transcripts ? name : stem, ".out", NULL);

	return options->transcripts ? g_build_filename(options->transcripts, file, NULL) : g_steal_pointer(&file);
}

/* Whether a transcript ends because a real kernel has no such thing. */
static bool ends_in_no_linux(const char *text)
{
	const char *last;

	/* Only an error's line is not indented and no statement. */
	for (last = text; *text; text++)
		if (*text == '\n' && text[1])
			last = text + 1;
	if (*last == ' ' || *last == '>')
		return false;
	for (size_t i = 0; i < G_N_ELEMENTS(not_on_linux); i++)
		if (strstr(last, not_on_linux[i]))
			return true;
	return false;
}

static void verify_file(const char *path, const struct ps_machine_spec *spec, const struct options *options,
			struct totals *totals)
{
	GString *have = g_string_new(NULL);
	struct ps_script_settings settings = {
		.generation = options->generation, .check = options->check, .print = collect, .arg = have
	};
	char *out = transcript_path(options, path), *want = NULL;
	char *name = g_path_get_basename(path);
	struct ps_script *script = NULL;
	GError *error = NULL;
	const char *body;
	bool ran;

	if (!g_file_get_contents(out, &want, NULL, &error)) {
		totals->broken++;
		/* Why there is none, the oracle has said. */
		if (options->transcripts)
			printf("broken         %s: no transcript\n", path);
		else
			printf("broken         %s: %s\n", path, error->message);
		g_error_free(error);
		goto done;
	}
	body = strchr(want, '\n');
	body = body ? body + 1 : want;
	script = ps_script_open(path, name, &error);
	ran = script && ps_script_run(script, spec, &settings, &error);
	if (!strcmp(body, have->str)) {
		totals->agree++;
		if (!options->quiet)
			printf("agree          %s\n", path);
	} else if (options->transcripts && ends_in_no_linux(body)) {
		totals->unsupported++;
		if (!options->quiet)
			printf("not supported  %s\n    on a real kernel\n", path);
	} else if (!ran && error && strstr(error->message, "is not in this build")) {
		char *known = short_name(path);
		bool surprise = totals->known && !g_hash_table_contains(totals->known, known);

		g_free(known);
		totals->unsupported++;
		totals->surprises += surprise;
		if (!options->quiet || surprise)
			printf("not supported  %s\n    %s\n", path, error->message);
	} else {
		totals->differ++;
		printf("differ         %s\n", path);
		print_difference(options->transcripts ? "linux" : "recorded", body, have->str);
	}
	g_clear_error(&error);
	ps_script_free(script);
done:
	g_string_free(have, TRUE);
	g_free(want);
	g_free(out);
	g_free(name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Adds the scripts of a folder, in order of name, its subfolders included. */
static bool add_folder(GPtrArray *files, const char *path, GError **error)
{
	GDir *dir = g_dir_open(path, 0, error);
	GPtrArray *names;
	const char *name;
	bool ok = true;

	if (!dir)
		return false;
	names = g_ptr_array_new_with_free_func(g_free);
	while ((name = g_dir_read_name(dir)))
		g_ptr_array_add(names, g_build_filename(path, name, NULL));
	g_dir_close(dir);
	qsort(names->pdata, names->len, sizeof(char *), by_name);
	for (guint i = 0; i < names->len && ok; i++) {
		char *entry = g_ptr_array_index(names, i);

		if (g_file_test(entry, G_FILE_TEST_IS_DIR))
			ok = add_folder(files, entry, error);
		else if (g_str_has_suffix(entry, ".pgs"))
			g_ptr_array_add(files, g_strdup(entry));
	}
	g_ptr_array_free(names, TRUE);
	return ok;
}

/* ---- the other side, made now ---- */

/*
 * The oracle that belongs to this program: beside it when it is installed, else in the source tree it was built from.
 * Return: its path, or NULL with @error set. @own receives the path of this program.
 */
static char *find_oracle(const struct options *options, char **own, GError **error)
{
	g_autofree char *self = g_file_read_link("/proc/self/exe", error), *bin = NULL, *installed = NULL;

	if (!self)
		return NULL;
	bin = g_path_get_dirname(self);
	installed = g_build_filename(bin, PAGESIM_LIBEXEC_FROM_BIN, "pagesim", "oracle", NULL);
	*own = g_steal_pointer(&self);
	if (options->oracle)
		return g_strdup(options->oracle);
	if (*PAGESIM_LIBEXEC_FROM_BIN && g_file_test(installed, G_FILE_TEST_IS_EXECUTABLE))
		return g_steal_pointer(&installed);
	if (*PAGESIM_SOURCE_ORACLE && g_file_test(PAGESIM_SOURCE_ORACLE, G_FILE_TEST_IS_EXECUTABLE))
		return g_strdup(PAGESIM_SOURCE_ORACLE);
	g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT, "the oracle is missing: neither %s nor %s is there",
		    installed, PAGESIM_SOURCE_ORACLE);
	return NULL;
}

static void add_option(GPtrArray *argv, const char *option, const char *value)
{
	if (!value)
		return;
	g_ptr_array_add(argv, (gpointer)option);
	g_ptr_array_add(argv, (gpointer)value);
}

static void remove_folder(const char *path)
{
	GDir *dir = g_dir_open(path, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *file = g_build_filename(path, name, NULL);

		g_unlink(file);
	}
	if (dir)
		g_dir_close(dir);
	g_rmdir(path);
}

/* An interrupt is the oracle's as well as ours: it ends the guest, and then we tidy up. */
static void restore_signals(gpointer unused)
{
	(void)unused;
	signal(SIGINT, SIG_DFL);
}

/*
 * Has the oracle play all scripts. It installs and fetches nothing, and says itself what is missing.
 * Return: false when there is nothing to compare with. A script that was lost is told of and has no transcript.
 */
static bool play_on_linux(struct options *options, const GPtrArray *files, GError **error)
{
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	g_autofree char *own = NULL, *oracle = find_oracle(options, &own, error);
	gint wait_status = 0;
	bool ok;

	if (!oracle)
		return false;
	options->transcripts = g_dir_make_tmp("pagesim-verify-XXXXXX", error);
	if (!options->transcripts)
		return false;
	g_ptr_array_add(argv, oracle);
	g_ptr_array_add(argv, (gpointer) "--no-install");
	if (options->quiet)
		g_ptr_array_add(argv, (gpointer) "--quiet");
	add_option(argv, "--pagesim", own);
	add_option(argv, "--output", options->transcripts);
	add_option(argv, "--machine", options->machine);
	add_option(argv, "--kernel", options->kernel);
	add_option(argv, "--modules", options->modules);
	g_ptr_array_add(argv, (gpointer) "--");
	for (guint i = 0; i < files->len; i++)
		g_ptr_array_add(argv, files->pdata[i]);
	g_ptr_array_add(argv, NULL);
	signal(SIGINT, SIG_IGN);
	ok = g_spawn_sync(NULL, (char **)argv->pdata, NULL, G_SPAWN_CHILD_INHERITS_STDIN, restore_signals, NULL, NULL,
			  NULL, &wait_status, error);
	signal(SIGINT, SIG_DFL);
	if (!ok)
		return false;
	/* Status 1 also says that some scripts were lost: the others are there. */
	for (guint i = 0; i < files->len; i++) {
		g_autofree char *out = transcript_path(options, files->pdata[i]);

		if (g_file_test(out, G_FILE_TEST_EXISTS))
			return true;
	}
	g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "nothing was played on Linux");
	return false;
}

int cmd_verify(int argc, char **argv)
{
	struct options options = { 0 };
	const GOptionEntry entries[] = {
		{ "machine", 0, 0, G_OPTION_ARG_FILENAME, &options.machine,
		  "the machine of the recording (default linux-6.1)", "MACHINE" },
		{ "generation", 0, 0, G_OPTION_ARG_STRING, &options.generation,
		  "generation of the migrate engine (default 6.1)", "NAME" },
		{ "known", 0, 0, G_OPTION_ARG_FILENAME, &options.known, "scripts not in this list must be supported",
		  "LIST" },
		{ "check", 0, 0, G_OPTION_ARG_NONE, &options.check, "check all invariants after every statement",
		  NULL },
		{ "on-linux", 0, 0, G_OPTION_ARG_NONE, &options.on_linux,
		  "play the scripts on a real kernel now and compare with that", NULL },
		{ "kernel", 0, 0, G_OPTION_ARG_FILENAME, &options.kernel,
		  "the kernel: a .deb, an image or a package linux-image-... (default Debian 12's)", "IMAGE" },
		{ "modules", 0, 0, G_OPTION_ARG_FILENAME, &options.modules, "the modules of an image", "DIR" },
		{ "oracle", 0, 0, G_OPTION_ARG_FILENAME, &options.oracle, "the program that plays them on Linux",
		  "PROGRAM" },
		{ "quiet", 0, 0, G_OPTION_ARG_NONE, &options.quiet, "show what differs, and the totals", NULL },
		{ 0 },
	};
	g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(g_free);
	struct ps_machine_spec *spec;
	struct totals totals = { 0 };
	GError *error = NULL;
	int status;

	if (!cmd_parse(&argc, &argv, entries, "FILE|FOLDER...",
		       "Runs scripts and compares them with the transcripts (NAME.out) recorded on a real kernel "
		       "beside them. --on-linux takes no\n"
		       "recorded ones but plays the scripts on a real kernel in an emulated machine, which needs the "
		       "Debian packages\n"
		       "qemu-system-x86 and e2fsprogs and a kernel (tools/oracle --prepare).",
		       &status))
		goto out_free_options;
	if (argc < 2) {
		status = cmd_misused("no script named: expected FILE.pgs or a folder of them");
		goto out_free_options;
	}
	if (!options.on_linux && (options.kernel || options.modules || options.oracle)) {
		status = cmd_misused("--kernel, --modules and --oracle go with --on-linux");
		goto out_free_options;
	}
	if (!options.machine)
		options.machine = g_strdup("linux-6.1");
	spec = ps_machine_spec_load(options.machine, NULL, &error);
	if (!spec) {
		status = cmd_fail("%s", error->message);
		g_error_free(error);
		goto out_free_options;
	}
	if (options.known) {
		totals.known = read_known(options.known, &error);
		if (!totals.known) {
			status = cmd_fail("%s", error->message);
			g_error_free(error);
			goto out_free_spec;
		}
	}
	for (int i = 1; i < argc; i++) {
		if (g_file_test(argv[i], G_FILE_TEST_IS_DIR)) {
			if (!add_folder(files, argv[i], &error)) {
				status = cmd_fail("%s", error->message);
				g_error_free(error);
				goto out_free_known;
			}
		} else if (g_str_has_suffix(argv[i], ".pgs")) {
			g_ptr_array_add(files, g_strdup(argv[i]));
		} else {
			status = cmd_misused("%s: expected a script (.pgs) or a folder of them", argv[i]);
			goto out_free_known;
		}
	}
	if (options.on_linux && !play_on_linux(&options, files, &error)) {
		status = cmd_fail("%s", error->message);
		g_error_free(error);
		goto out_free_known;
	}
	for (guint i = 0; i < files->len; i++)
		verify_file(g_ptr_array_index(files, i), spec, &options, &totals);
	printf("%u agree, %u differ, %u not supported%s of %u\n", totals.agree, totals.differ, totals.unsupported,
	       totals.broken ? ", some without a transcript," : "", files->len);
	status = totals.differ || totals.broken || totals.surprises ? CMD_FAILED : CMD_OK;
out_free_known:
	if (totals.known)
		g_hash_table_destroy(totals.known);
out_free_spec:
	ps_machine_spec_free(spec);
out_free_options:
	if (options.transcripts)
		remove_folder(options.transcripts);
	g_free(options.transcripts);
	g_free(options.machine);
	g_free(options.generation);
	g_free(options.known);
	g_free(options.kernel);
	g_free(options.modules);
	g_free(options.oracle);
	return status;
}
