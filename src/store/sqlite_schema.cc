#include "store/sqlite_schema.h"

#include <array>
#include <string>

namespace sightline {
namespace {

// WITHOUT ROWID: the key is the time-ordered id, so the table itself is in time order, a row does
// not depend on when it was inserted, and there is one B-tree less to write than with a rowid.
// The indexes are ascending although people ask for the newest first: SQLite reads them backwards
// at no cost, and appending at a B-tree's right end is what it does fastest.
// No STRICT: SQLite before 3.37 (Debian 11) could not even read such a file.
constexpr std::string_view kVersion1 = R"sql(
CREATE TABLE detections (
  id          BLOB    NOT NULL PRIMARY KEY,
  camera_id   TEXT    NOT NULL,
  timestamp   INTEGER NOT NULL,
  class_id    INTEGER NOT NULL,
  class       TEXT    NOT NULL,
  confidence  REAL    NOT NULL,
  x1          REAL    NOT NULL,
  y1          REAL    NOT NULL,
  x2          REAL    NOT NULL,
  y2          REAL    NOT NULL,
  track_id    INTEGER,
  epoch       INTEGER NOT NULL,
  pts_us      INTEGER NOT NULL,
  frame       INTEGER NOT NULL,
  clip_s3_key TEXT
) WITHOUT ROWID;
CREATE INDEX detections_by_camera ON detections (camera_id, timestamp);
CREATE INDEX detections_by_class ON detections (class_id, timestamp);

CREATE TABLE frames (
  camera_id  TEXT    NOT NULL,
  timestamp  INTEGER NOT NULL,
  epoch      INTEGER NOT NULL,
  frame      INTEGER NOT NULL,
  pts_us     INTEGER NOT NULL,
  clock      TEXT    NOT NULL,
  width      INTEGER NOT NULL,
  height     INTEGER NOT NULL,
  detections INTEGER NOT NULL,
  tracks     INTEGER NOT NULL,
  PRIMARY KEY (camera_id, timestamp, epoch, frame)
) WITHOUT ROWID;

CREATE TABLE tracks (
  id              BLOB    NOT NULL PRIMARY KEY,
  camera_id       TEXT    NOT NULL,
  track_id        INTEGER NOT NULL,
  class_id        INTEGER NOT NULL,
  class           TEXT    NOT NULL,
  first_timestamp INTEGER NOT NULL,
  last_timestamp  INTEGER NOT NULL,
  epoch           INTEGER NOT NULL,
  first_pts_us    INTEGER NOT NULL,
  last_pts_us     INTEGER NOT NULL,
  first_frame     INTEGER NOT NULL,
  last_frame      INTEGER NOT NULL,
  hits            INTEGER NOT NULL,
  max_confidence  REAL    NOT NULL,
  first_x1_px     REAL    NOT NULL,
  first_y1_px     REAL    NOT NULL,
  first_x2_px     REAL    NOT NULL,
  first_y2_px     REAL    NOT NULL,
  last_x1_px      REAL    NOT NULL,
  last_y1_px      REAL    NOT NULL,
  last_x2_px      REAL    NOT NULL,
  last_y2_px      REAL    NOT NULL
) WITHOUT ROWID;
CREATE INDEX tracks_by_camera ON tracks (camera_id, first_timestamp);

CREATE TABLE events (
  id         BLOB    NOT NULL PRIMARY KEY,
  camera_id  TEXT    NOT NULL,
  timestamp  INTEGER NOT NULL,
  kind       TEXT    NOT NULL,
  rule       TEXT    NOT NULL,
  direction  TEXT,
  forward    INTEGER,
  dwell_us   INTEGER,
  track_id   INTEGER NOT NULL,
  class_id   INTEGER NOT NULL,
  class      TEXT    NOT NULL,
  confidence REAL    NOT NULL,
  x1         REAL    NOT NULL,
  y1         REAL    NOT NULL,
  x2         REAL    NOT NULL,
  y2         REAL    NOT NULL,
  anchor_x   REAL    NOT NULL,
  anchor_y   REAL    NOT NULL,
  epoch      INTEGER NOT NULL,
  pts_us     INTEGER NOT NULL,
  frame      INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX events_by_camera ON events (camera_id, timestamp);
CREATE INDEX events_by_rule ON events (rule, timestamp);

CREATE TABLE ledger (
  camera_id TEXT    NOT NULL,
  outcome   TEXT    NOT NULL,
  reason    TEXT    NOT NULL,
  frames    INTEGER NOT NULL,
  PRIMARY KEY (camera_id, outcome, reason)
) WITHOUT ROWID;

CREATE VIEW detections_readable AS
  SELECT strftime('%Y-%m-%dT%H:%M:%fZ', d.timestamp / 1e6, 'unixepoch') AS timestamp_text,
         d.camera_id, d.frame, d.class, round(d.confidence, 3) AS confidence, d.track_id,
         round(d.x1 * f.width, 1) AS x1_px, round(d.y1 * f.height, 1) AS y1_px,
         round(d.x2 * f.width, 1) AS x2_px, round(d.y2 * f.height, 1) AS y2_px,
         lower(hex(d.id)) AS id_hex
  FROM detections AS d JOIN frames AS f
    ON f.camera_id = d.camera_id AND f.timestamp = d.timestamp AND f.epoch = d.epoch
       AND f.frame = d.frame;

CREATE VIEW detections_per_minute AS
  SELECT d.camera_id, strftime('%Y-%m-%dT%H:%M:00Z', d.minute * 60, 'unixepoch') AS minute_text,
         d.class, d.detections, f.frames,
         round(1.0 * d.detections / f.frames, 3) AS mean_per_frame
  FROM (SELECT camera_id, timestamp / 60000000 AS minute, class, count(*) AS detections
        FROM detections GROUP BY 1, 2, 3) AS d
  JOIN (SELECT camera_id, timestamp / 60000000 AS minute, count(*) AS frames
        FROM frames GROUP BY 1, 2) AS f
    ON f.camera_id = d.camera_id AND f.minute = d.minute;

CREATE VIEW objects_per_class AS
  SELECT camera_id, class, count(*) AS objects,
         round(avg(last_timestamp - first_timestamp) / 1e6, 2) AS mean_seconds_in_view
  FROM tracks GROUP BY camera_id, class;

CREATE VIEW line_counts AS
  SELECT camera_id, rule AS line, direction, class, count(*) AS crossings,
         count(DISTINCT track_id) AS objects
  FROM events WHERE kind = 'line_cross' GROUP BY camera_id, rule, direction, class;

CREATE VIEW zone_visits AS
  SELECT camera_id, rule AS zone, class,
         sum(kind = 'zone_enter') AS entered, sum(kind = 'zone_exit') AS exited,
         round(avg(dwell_us) / 1e6, 2) AS mean_dwell_s,
         round(max(dwell_us) / 1e6, 2) AS max_dwell_s
  FROM events WHERE kind IN ('zone_enter', 'zone_exit') GROUP BY camera_id, rule, class;

CREATE VIEW events_readable AS
  SELECT strftime('%Y-%m-%dT%H:%M:%fZ', timestamp / 1e6, 'unixepoch') AS timestamp_text,
         camera_id, kind, rule, direction, round(dwell_us / 1e6, 2) AS dwell_s, class, track_id,
         frame
  FROM events;

CREATE VIEW ledger_balance AS
  SELECT camera_id,
         sum(CASE outcome WHEN 'in' THEN frames ELSE 0 END) AS frames_in,
         sum(CASE outcome WHEN 'processed' THEN frames ELSE 0 END) AS processed,
         sum(CASE outcome WHEN 'skipped' THEN frames ELSE 0 END) AS skipped,
         sum(CASE outcome WHEN 'dropped' THEN frames ELSE 0 END) AS dropped,
         sum(CASE outcome WHEN 'in' THEN frames ELSE -frames END) AS unaccounted
  FROM ledger GROUP BY camera_id;
)sql";

constexpr std::string_view kVersion2 = R"sql(
CREATE TABLE camera_states (
  camera_id TEXT    NOT NULL,
  timestamp INTEGER NOT NULL,
  state     TEXT    NOT NULL,
  previous  TEXT    NOT NULL,
  reason    TEXT    NOT NULL,
  epoch     INTEGER NOT NULL,
  attempts  INTEGER NOT NULL,
  gap_us    INTEGER NOT NULL,
  PRIMARY KEY (camera_id, timestamp, state)
) WITHOUT ROWID;

CREATE VIEW camera_gaps AS
  SELECT strftime('%Y-%m-%dT%H:%M:%fZ', (s.timestamp - s.gap_us) / 1e6, 'unixepoch') AS from_text,
         strftime('%Y-%m-%dT%H:%M:%fZ', s.timestamp / 1e6, 'unixepoch') AS to_text,
         s.camera_id, round(s.gap_us / 1e6, 3) AS seconds,
         (SELECT r.reason FROM camera_states AS r
          WHERE r.camera_id = s.camera_id AND r.timestamp <= s.timestamp AND r.reason <> ''
          ORDER BY r.timestamp DESC LIMIT 1) AS last_reason
  FROM camera_states AS s WHERE s.state = 'live' AND s.gap_us > 0;
)sql";

// Detection ids begin with the time, so that the index is in its order.
constexpr std::string_view kVersion3 = R"sql(
CREATE TABLE stage_results (
  detection_id BLOB    NOT NULL,
  stage        TEXT    NOT NULL,
  part         INTEGER NOT NULL,
  kind         TEXT    NOT NULL,
  class_id     INTEGER,
  class        TEXT,
  confidence   REAL,
  score        REAL,
  x1           REAL,
  y1           REAL,
  x2           REAL,
  y2           REAL,
  embedding    BLOB,
  details      TEXT,
  PRIMARY KEY (detection_id, stage, part)
) WITHOUT ROWID;
CREATE INDEX stage_results_by_class ON stage_results (stage, class);

CREATE VIEW stage_results_readable AS
  SELECT strftime('%Y-%m-%dT%H:%M:%fZ', d.timestamp / 1e6, 'unixepoch') AS timestamp_text,
         d.camera_id, d.frame, d.track_id, d.class AS object, s.stage, s.kind, s.class,
         round(s.confidence, 3) AS confidence,
         round(s.x1 * f.width, 1) AS x1_px, round(s.y1 * f.height, 1) AS y1_px,
         round(s.x2 * f.width, 1) AS x2_px, round(s.y2 * f.height, 1) AS y2_px,
         lower(hex(s.detection_id)) AS detection_id_hex
  FROM stage_results AS s JOIN detections AS d ON d.id = s.detection_id
    JOIN frames AS f
      ON f.camera_id = d.camera_id AND f.timestamp = d.timestamp AND f.epoch = d.epoch
         AND f.frame = d.frame;
)sql";

constexpr std::array<std::string_view, 3> kMigrations = {kVersion1, kVersion2, kVersion3};

}  // namespace

std::span<const std::string_view> SqliteMigrations() { return kMigrations; }

absl::StatusOr<int> CheckSqliteSchema(SqliteDatabase& database,
                                      std::span<const std::string_view> migrations) {
  SL_ASSIGN_OR_RETURN(const int64_t objects,
                      database.QueryInt("SELECT count(*) FROM sqlite_master"));
  SL_ASSIGN_OR_RETURN(const int64_t application, database.QueryInt("PRAGMA application_id"));
  SL_ASSIGN_OR_RETURN(const int64_t version, database.QueryInt("PRAGMA user_version"));
  if (objects == 0 && application == 0 && version == 0) return 0;
  if (application != kSqliteApplicationId) {
    return InvalidArgument(
        "{} is a SQLite database of another program ({}); choose another file (`outputs: sqlite: "
        "path`, or --out for the folder), or move it away",
        database.path(),
        application == 0 ? std::string("without Sightline's tables")
                         : fmt::format("application id {}", application));
  }
  const auto newest = static_cast<int64_t>(migrations.size());
  if (version > newest) {
    return FailedPrecondition(
        "{} has schema version {}, written by a newer Sightline; this one knows versions up to {}: "
        "use that newer Sightline or another file",
        database.path(), version, newest);
  }
  if (version < 0) {
    return DataLoss("{} has the impossible schema version {}; choose another file", database.path(),
                    version);
  }
  return static_cast<int>(version);
}

absl::Status MigrateSqliteSchema(SqliteDatabase& database,
                                 std::span<const std::string_view> migrations) {
  while (true) {
    SL_ASSIGN_OR_RETURN(int version, CheckSqliteSchema(database, migrations));
    if (version == static_cast<int>(migrations.size())) return absl::OkStatus();
    SL_RETURN_IF_ERROR(database.Execute("BEGIN IMMEDIATE"));
    // Another process may have been faster; only under the lock is the version for sure.
    absl::StatusOr<int> locked = CheckSqliteSchema(database, migrations);
    absl::Status status = locked.status();
    if (locked.ok() && *locked < static_cast<int>(migrations.size())) {
      version = *locked;
      status = database.Execute(std::string(migrations[version]) +
                                fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {};",
                                            kSqliteApplicationId, version + 1));
    }
    if (status.ok()) status = database.Execute("COMMIT");
    if (!status.ok()) {
      database.Execute("ROLLBACK").IgnoreError();
      return status;
    }
  }
}

}  // namespace sightline
