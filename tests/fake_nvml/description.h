/* The description file of the fake NVML and the way into every function. Included by nvml.c alone. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define API __attribute__((visibility("default"))) int
#define NA (~0ULL)
enum { GPUS = 16, INSTANCES = 8, SECTIONS = 512, PAIRS = 96 };
enum { UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, NO_DRIVER = 9, VERSION = 25 };
typedef unsigned int u32;
typedef unsigned long long u64;

static const char *const ERRORS[] = {
    "success", "uninitialized", "invalid_argument", "not_supported", "no_permission", "already_initialized",
    "not_found", "insufficient_size", "insufficient_power", "driver_not_loaded", "timeout", "irq_issue",
    "library_not_found", "function_not_found", "corrupted_inforom", "gpu_is_lost", "reset_required",
    "operating_system", "lib_rm_version_mismatch", "in_use", "memory", "no_data", "vgpu_ecc_not_supported",
    "insufficient_resources", "freq_not_supported", "argument_version_mismatch", "deprecated", "not_ready",
    "gpu_not_found", "invalid_state", "reset_type_not_supported"};

typedef struct { char *key, *value; } Pair;
typedef struct { char kind; int slot; int count; Pair pairs[PAIRS]; } Section; /* kind: m(achine) g(pu) i(nstance) p(rocess) */
typedef struct nvmlDevice_st { Section *section; } *Device; /* a slot keeps its address: handles outlive a reload */

static Section sections[SECTIONS];
static int section_count;
static struct nvmlDevice_st slots[GPUS + GPUS * INSTANCES];
static char *text;
static struct timespec read_at;
static off_t read_size = -1;
static ino_t read_inode;
static int references;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct { char name[64]; unsigned count; } calls[256];

/* ---- the description ---- */

static char *strip(char *s) {
    while (*s == ' ' || *s == '\t') s++;
    for (char *end = s + strlen(s); end > s && strchr(" \t\r\n", end[-1]); ) *--end = 0;
    return s;
}

static const char *find(const Section *s, const char *key) {
    for (int i = 0; s && i < s->count; i++)
        if (!strcmp(s->pairs[i].key, key)) return s->pairs[i].value;
    return NULL;
}

static Section *machine(void) { return &sections[0]; }

static void open_section(char *header, int *gpu, int *device) {
    if (section_count == SECTIONS) return;
    Section *s = &sections[section_count++];
    int number = 0;
    memset(s, 0, sizeof *s);
    if (sscanf(header, "[gpu %d]", &number) == 1 && number >= 0 && number < GPUS) {
        s->kind = 'g', *gpu = *device = number;
    } else if (sscanf(header, "[mig %d]", &number) == 1 && number >= 0 && number < INSTANCES && *gpu >= 0) {
        s->kind = 'i', *device = GPUS + *gpu * INSTANCES + number;
    } else {
        s->kind = 'p';
    }
    s->slot = *device;
    if (s->kind != 'p') slots[s->slot].section = s;
}

static void parse(void) {
    int gpu = -1, device = -1;
    char *save = NULL;
    memset(slots, 0, sizeof slots);
    memset(sections, 0, sizeof sections);
    section_count = 1;
    machine()->kind = 'm';
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *stripped = strip(line), *equals = strchr(stripped, '=');
        Section *s = &sections[section_count - 1];
        if (*stripped == '#' || !*stripped) continue;
        if (*stripped == '[') { open_section(stripped, &gpu, &device); continue; }
        if (!equals || s->count == PAIRS) continue;
        *equals = 0;
        s->pairs[s->count++] = (Pair){strip(stripped), strip(equals + 1)};
    }
}

static int reload(void) {
    const char *path = getenv("FAKE_NVML");
    struct stat st;
    FILE *file;
    if (!path || stat(path, &st)) return NO_DRIVER;
    if (text && st.st_size == read_size && st.st_ino == read_inode && !memcmp(&st.st_mtim, &read_at, sizeof read_at)) return 0;
    if (!(file = fopen(path, "r"))) return NO_DRIVER;
    free(text);
    text = calloc(1, (size_t)st.st_size + 1);
    size_t got = fread(text, 1, (size_t)st.st_size, file);
    text[got] = 0;
    fclose(file);
    read_at = st.st_mtim, read_size = st.st_size, read_inode = st.st_ino;
    parse();
    return 0;
}

static int error_code(const char *value) {
    for (u32 i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (!strcmp(value, ERRORS[i])) return (int)i;
    return strcmp(value, "unknown") ? -1 : 999;
}

static int number(const Section *s, const char *key, u64 *out) {
    const char *value = find(s, key);
    if (!value) return NOT_SUPPORTED;
    int code = error_code(value);
    if (code > 0) return code;
    *out = strcmp(value, "n/a") ? strtoull(value, NULL, 0) : NA;
    return 0;
}

static u64 plain(const Section *s, const char *key, u64 otherwise) {
    u64 value;
    return number(s, key, &value) ? otherwise : value;
}

static int copy(char *out, u32 length, const char *value) {
    if (!value) return NOT_SUPPORTED;
    int code = error_code(value);
    if (code > 0) return code;
    if (!out) return INVALID;
    if (strlen(value) + 1 > length) return TOO_SMALL;
    strcpy(out, value);
    return 0;
}

/* ---- the way in: every function counts itself, may be slow, may fail ---- */

static int lock(void) { return pthread_mutex_lock(&mutex); }
static void unlock(int *held) { (void)held; pthread_mutex_unlock(&mutex); }

static void count(const char *function) {
    for (u32 i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (!calls[i].name[0]) snprintf(calls[i].name, sizeof calls[i].name, "%s", function);
        if (!strcmp(calls[i].name, function)) { calls[i].count++; return; }
    }
}

static void be_slow(const Section *s, const char *key) {
    u64 ms = plain(s, key, 0);
    struct timespec pause = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    if (!ms) return;
    pthread_mutex_unlock(&mutex);
    nanosleep(&pause, NULL);
    pthread_mutex_lock(&mutex);
}

static int faults(const Section *s, const char *function) {
    char key[96];
    snprintf(key, sizeof key, "slow.%s", function);
    be_slow(s, key);
    snprintf(key, sizeof key, "fail.%s", function);
    const char *value = find(s, key);
    if (!value && s && s->kind != 'm') value = find(s, "state");
    int code = value ? error_code(value) : 0;
    return code < 0 ? 0 : code;
}

static int enter_machine(const char *function) {
    count(function);
    if (!references) return UNINITIALIZED;
    reload();
    return faults(machine(), function);
}

static int enter(const char *function, Device device, Section **s) {
    int code = enter_machine(function);
    if (code) return code;
    if (device < slots || device >= slots + sizeof slots / sizeof *slots || !device->section) return INVALID;
    code = faults(device->section, function);
    *s = device->section;
    return code;
}

#define LOCKED __attribute__((cleanup(unlock))) int held = lock()
#define MACHINE LOCKED; int code = enter_machine(__func__); if (code) return code
#define DEVICE LOCKED; Section *s = NULL; int code = enter(__func__, device, &s); if (code) return code

/* Store the number under `key` in `*out`, or return why that is not possible. */
#define GIVE(out, key) \
    do { \
        u64 value_ = 0; \
        if (!(out)) return INVALID; \
        if ((code = number(s, key, &value_))) return code; \
        *(out) = value_; \
    } while (0)

/* Functions that give one number or text, or one of four by an enumerator. */
#define U32(function, key) \
    API function(Device device, u32 *out) { \
        DEVICE; \
        GIVE(out, key); \
        return 0; \
    }
#define U64(function, key) \
    API function(Device device, u64 *out) { \
        DEVICE; \
        GIVE(out, key); \
        return 0; \
    }
#define TEXT(function, key) \
    API function(Device device, char *out, u32 length) { \
        DEVICE; \
        return copy(out, length, find(s, key)); \
    }
#define U32_OF(function, ...) \
    API function(Device device, u32 which, u32 *out) { \
        static const char *const keys[4] = {__VA_ARGS__}; \
        DEVICE; \
        if (which > 3 || !keys[which]) return INVALID; \
        GIVE(out, keys[which]); \
        return 0; \
    }

/* For tests in one process: as if the library had just been loaded. */
__attribute__((visibility("default"))) void fake_nvml_reset(void) {
    LOCKED;
    memset(calls, 0, sizeof calls);
    references = 0;
    free(text);
    text = NULL;
}

__attribute__((visibility("default"))) unsigned fake_nvml_calls(const char *function) {
    LOCKED;
    for (u32 i = 0; i < sizeof calls / sizeof *calls; i++)
        if (!strcmp(calls[i].name, function)) return calls[i].count;
    return 0;
}
