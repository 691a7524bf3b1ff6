// SPDX-License-Identifier: Apache-2.0
/* loopscope doctor: what works here, what does not, and the way out. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "attach/attach.h"
#include "attach/features.h"
#include "attach/probes.h"
#include "attach/try.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/units.h"
#include "cli/attach.h"
#include "cli/dump.h"
#include "discover/target.h"
#include "export/clean.h"
#include "export/exporter.h"

#define MAX_CHECKS 64
#define SMALL_RING 4096
#define COLUMN 28

enum group { GROUP_KERNEL, GROUP_PRIVILEGES, GROUP_PROBES, GROUP_TARGET };

static const char *const groups[] = {
	[GROUP_KERNEL] = "kernel",
	[GROUP_PRIVILEGES] = "privileges",
	[GROUP_PROBES] = "probes",
	[GROUP_TARGET] = "target",
};

struct check {
	enum group group;
	const char *name;
	bool there, required;
	char detail[256];	/* "": nothing to add */
	const char *since, *without, *way_out;	/* NULL: nothing to say */
};

struct checks {
	struct check items[MAX_CHECKS];
	size_t count;
	int status;		/* exit status so far */
};

static struct check *add(struct checks *checks, enum group group, const char *name)
{
	struct check *check = &checks->items[checks->count];

	if (checks->count < MAX_CHECKS - 1)
		checks->count++;
	*check = (struct check){ .group = group, .name = name };
	return check;
}

static void check_features(struct checks *checks)
{
	for (size_t i = 0; i < feature_count; i++) {
		const struct feature *feature = &features[i];
		struct check *check = add(checks, feature->privilege ? GROUP_PRIVILEGES
								     : GROUP_KERNEL,
					  feature->name);

		check->there = !feature_probe(feature, check->detail, &check->way_out);
		check->required = feature->required;
		check->since = feature->since;
		check->without = feature->without;
	}
	features_release();
}

static void check_probes(struct checks *checks)
{
	struct attach_options options = { .slow_call_ns = NS_PER_MS, .step_ns = NS_PER_MS,
					  .sample_after_ns = NS_PER_MS, .rate_hz = 1,
					  .ring_bytes = SMALL_RING };
	struct attachment *attachment = NULL;
	struct check *check;

	for (unsigned i = 0; i < PROBE_COUNT; i++) {
		check = add(checks, GROUP_PROBES, probes[i].program);
		check->there = !attach_try(i, check->detail, sizeof(check->detail));
		check->required = probes[i].required;
		check->without = probes[i].without;
	}
	check = add(checks, GROUP_PROBES, "all together");
	check->there = !attach_open(&options, &attachment, check->detail, sizeof(check->detail));
	check->required = true;
	check->without = "nothing can be observed";
	attach_free(attachment);
	if (!check->there)
		checks->status = EXIT_PRIVILEGES;
}

static void describe_loops(const struct target *target, char *text, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < target->loop_count && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%sthread %d (%s)",
					 i ? ", " : "", target->loops[i].tid,
					 target->loops[i].kind == LOOP_KIND_UVLOOP ? "uvloop"
										   : "asyncio");
}

static void check_target(struct checks *checks, pid_t pid)
{
	struct target *target = NULL;
	struct check *interpreter, *loops;
	char version[32], message[256] = "";
	int error = target_open(pid, &target, message, sizeof(message));

	interpreter = add(checks, GROUP_TARGET, "interpreter");
	interpreter->required = true;
	interpreter->there = !error;
	interpreter->without = "this process cannot be observed";
	snprintf(interpreter->detail, sizeof(interpreter->detail), "%s", message);
	if (!error)
		snprintf(interpreter->detail, sizeof(interpreter->detail), "Python %s, %s, %s",
			 target_version(target, version, sizeof(version)),
			 target->shared_library ? "shared" : "static", target->interpreter);
	loops = add(checks, GROUP_TARGET, "event loops");
	loops->without = "it is waited for until the observation ends";
	if (!error && target_find_loops(target) > 0) {
		loops->there = true;
		describe_loops(target, loops->detail, sizeof(loops->detail));
	} else {
		snprintf(loops->detail, sizeof(loops->detail), "none runs yet");
	}
	interpreter = add(checks, GROUP_TARGET, "server");
	interpreter->there = !error && target->server;
	interpreter->without = "requests of servers that are not known have no route";
	snprintf(interpreter->detail, sizeof(interpreter->detail), "%s",
		 interpreter->there ? target->server : "not known");
	target_free(target);
	if (error && checks->status == EXIT_DONE)
		checks->status = status_of_target(error);
}

static void print_text(const struct checks *checks, const struct utsname *names)
{
	int group = -1;

	printf("Linux %s %s\n", names->release, names->machine);
	for (size_t i = 0; i < checks->count; i++) {
		const struct check *check = &checks->items[i];
		_cleanup_free_ char *detail = clean_text(check->detail, CLEAN_PRINT);

		if ((int)check->group != group)
			printf("\n%s\n", groups[check->group]);
		group = check->group;
		printf("  %-4s%s", check->there ? "yes" : check->required ? "NO" : "no",
		       check->name);
		if (detail && detail[0])
			printf("%*s%s", COLUMN - (int)strlen(check->name), "", detail);
		putchar('\n');
		if (check->there)
			continue;
		if (check->since)
			printf("      since:   %s\n", check->since);
		if (check->without)
			printf("      without: %s\n", check->without);
		if (check->way_out)
			printf("      do:      %s\n", check->way_out);
	}
}

static cJSON *text_of(const char *text)
{
	_cleanup_free_ char *clean = text && text[0] ? clean_text(text, CLEAN_UTF8) : NULL;

	return clean ? cJSON_CreateString(clean) : cJSON_CreateNull();
}

static int print_json(const struct checks *checks, const struct utsname *names)
{
	cJSON *root = cJSON_CreateObject(), *list = cJSON_CreateArray();
	_cleanup_free_ char *text = NULL;

	cJSON_AddStringToObject(root, "schema", "loopscope.doctor/1");
	cJSON_AddStringToObject(root, "kernel", names->release);
	cJSON_AddStringToObject(root, "arch", names->machine);
	cJSON_AddBoolToObject(root, "works", checks->status == EXIT_DONE);
	cJSON_AddItemToObject(root, "checks", list);
	for (size_t i = 0; i < checks->count; i++) {
		const struct check *check = &checks->items[i];
		cJSON *object = cJSON_CreateObject();

		cJSON_AddItemToArray(list, object);
		cJSON_AddStringToObject(object, "group", groups[check->group]);
		cJSON_AddStringToObject(object, "name", check->name);
		cJSON_AddBoolToObject(object, "there", check->there);
		cJSON_AddBoolToObject(object, "required", check->required);
		cJSON_AddItemToObject(object, "detail", text_of(check->detail));
		cJSON_AddItemToObject(object, "since", text_of(check->since));
		cJSON_AddItemToObject(object, "without", text_of(check->without));
		cJSON_AddItemToObject(object, "way_out", text_of(check->way_out));
	}
	text = cJSON_Print(root);
	cJSON_Delete(root);
	if (!text)
		return -ENOMEM;
	printf("%s\n", text);
	return 0;
}

/* One line for what does not work, besides the table. */
static void say_status(const struct checks *checks)
{
	const char *first = NULL;
	unsigned count = 0;

	for (size_t i = 0; i < checks->count; i++) {
		if (checks->items[i].there || !checks->items[i].required)
			continue;
		count++;
		if (!first)
			first = checks->items[i].name;
	}
	if (checks->status == EXIT_PRIVILEGES)
		log_error(0, "attaching does not work here: %u checks failed, first \"%s\"", count,
			  first ? first : "all together");
	else if (checks->status == EXIT_TARGET)
		log_error(0, "attaching works here, but not to this process");
}

int doctor_run(const struct options *options)
{
	bool json = !strcmp(options->format->name, "json");
	struct utsname names = { 0 };
	struct checks *checks;
	int status = -1;
	pid_t pid = 0;

	if (!json && strcmp(options->format->name, "text")) {
		log_error(0, "--format %s: doctor prints text or json", options->format->name);
		return EXIT_USAGE;
	}
	if (options->pid || options->port || options->command)
		status = choose_target(options, false, &pid);
	if (status >= 0)
		return status;
	checks = calloc(1, sizeof(*checks));
	if (!checks)
		return log_error(EXIT_FAILED, "out of memory");
	checks->status = EXIT_DONE;
	uname(&names);
	check_features(checks);
	check_probes(checks);
	if (pid)
		check_target(checks, pid);
	status = checks->status;
	if (!json)
		print_text(checks, &names);
	else if (print_json(checks, &names))
		status = log_error(EXIT_FAILED, "out of memory");
	if (fflush(stdout))
		status = log_error(EXIT_FAILED, "cannot write: %s", strerror(errno));
	else
		say_status(checks);
	free(checks);
	return status;
}
