/** The server's shapes, by the names the app uses. */
import type { components } from "./schema.gen";

type Schemas = components["schemas"];

export type Execution = Schemas["ExecutionOut"];
export type ExecutionDetail = Schemas["ExecutionDetail"];
export type Attempt = Schemas["AttemptOut"];
export type State = Schemas["State"];
export type Line = Schemas["LineOut"];
export type Backend = Schemas["BackendOut"];
export type CheckItem = Schemas["CheckItem"];
export type Permission = Schemas["Permission"];
export type Bot = Schemas["BotOut"];
export type Result = Schemas["ResultOut"];
export type Project = Schemas["ProjectOut"];
export type Worktree = Schemas["WorktreeOut"];
export type Account = Schemas["AccountOut"];
export type LimitWindow = Schemas["WindowOut"];
export type Costs = Schemas["CostsOut"];
export type Budget = Schemas["BudgetOut"];
export type Transcript = Schemas["TranscriptOut"];
export type Target = Schemas["TargetOut"];
export type SentNotice = Schemas["NoticeOut"];
export type NoticeState = Schemas["NoticeState"];
export type Counts = Record<State, number>;

/** One event of a run's journal; what else it holds depends on its type. */
export interface JournalEvent {
  seq: number;
  attempt: number;
  at: string;
  type: string;
  [field: string]: unknown;
}

export type SignIn = Schemas["SignInOut"];

export interface HunkLine {
  kind: " " | "+" | "-";
  text: string;
  no_newline?: boolean;
}

export interface Hunk {
  old_start: number;
  new_start: number;
  heading: string;
  lines: HunkLine[];
}

export interface ChangedFile {
  path: string;
  old_path: string | null;
  old_mode: string;
  new_mode: string;
  status: string;
  binary: boolean;
  additions: number;
  deletions: number;
  hunks: Hunk[];
  truncated: boolean;
}

export interface Changes {
  stats: { files: number; additions: number; deletions: number };
  files: ChangedFile[];
}
