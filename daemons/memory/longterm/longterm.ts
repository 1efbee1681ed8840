import type { ConfigChange, Decision, Incident, Procedure } from "../records.ts";
import { type Page, pager, type Store, select, type Table, upsert } from "../store/index.ts";
import { decisionTable } from "../working/index.ts";

/** A record as the search reads it. */
export interface Document {
  readonly collection: "decisions" | "incidents" | "procedures" | "config_changes" | "knowledge";
  readonly id: string;
  /** The text that is searched and found. */
  readonly content: string;
  readonly metadata: object;
  readonly timestamp: number;
}

/** Takes a document into the search: SQL on the same database, within the write that stores the record. */
type Index = (document: Document) => void;

/** The records that are kept for good. A record and its entry in the search are written together. */
export interface Longterm {
  putProcedure(procedure: Procedure): Promise<void>;
  putIncident(incident: Incident): Promise<void>;
  putConfigChange(change: ConfigChange): Promise<void>;
  putDecision(decision: Decision): Promise<void>;
  /** Procedures, the last used first. */
  procedures(limit: number, cursor: string): Page<Procedure>;
  /** All procedures, incidents and so on, as documents: for an index that is made anew. */
  documents(): Iterable<Document>;
}

const procedureTable: Table = {
  name: "procedures",
  columns: [
    ...(["id", "name", "description", "steps_json", "success_count", "fail_count", "avg_duration_ms"] as const),
    ...["tags_json", "created_at", "last_used"],
  ],
};

const incidentTable: Table = {
  name: "incidents",
  columns: [
    ...(["id", "description", "symptoms_json", "root_cause", "resolution", "resolved_by", "prevention"] as const),
    "timestamp",
  ],
};

const configChangeTable: Table = {
  name: "config_changes",
  columns: ["id", "file_path", "content", "changed_by", "reason", "timestamp"],
};

type ProcedureRow = Omit<Procedure, "tags"> & { readonly tagsJson: string };

export function openLongterm({ database, write }: Store, index: Index): Longterm {
  const put = {
    procedure: upsert<ProcedureRow>(database, procedureTable),
    incident: upsert<Incident>(database, incidentTable),
    change: upsert<ConfigChange>(database, configChangeTable),
    decision: upsert<Decision>(database, decisionTable),
  };
  const each = {
    procedures: database.prepare<[], ProcedureRow>(select(procedureTable)),
    incidents: database.prepare<[], Incident>(select(incidentTable)),
    changes: database.prepare<[], ConfigChange>(select(configChangeTable)),
    decisions: database.prepare<[], Decision>(select(decisionTable)),
  };
  const page = pager<ProcedureRow>(database, {
    select: select(procedureTable),
    order: ["last_used", "id"],
    descending: true,
  });
  return {
    procedures(limit, cursor) {
      const { rows, nextCursor } = page([], limit, cursor);
      return { rows: rows.map(({ tagsJson, ...row }) => ({ ...row, tags: JSON.parse(tagsJson) })), nextCursor };
    },
    putProcedure: ({ tags, ...procedure }) =>
      write(`procedure ${procedure.id}`, () => {
        const row = { ...procedure, tagsJson: JSON.stringify(tags) };
        put.procedure(row);
        index(procedureDocument(row));
      }),
    putIncident: (incident) =>
      write(`incident ${incident.id}`, () => {
        put.incident(incident);
        index(incidentDocument(incident));
      }),
    putConfigChange: (change) =>
      write(`configuration change ${change.id}`, () => {
        put.change(change);
        index(configChangeDocument(change));
      }),
    putDecision: (decision) =>
      write(`decision ${decision.id}`, () => {
        put.decision(decision);
        index(decisionDocument(decision));
      }),
    *documents() {
      for (const row of each.procedures.iterate()) yield procedureDocument(row);
      for (const row of each.incidents.iterate()) yield incidentDocument(row);
      for (const row of each.changes.iterate()) yield configChangeDocument(row);
      for (const row of each.decisions.iterate()) yield decisionDocument(row);
    },
  };
}

function procedureDocument({ id, name, description, stepsJson, tagsJson, ...rest }: ProcedureRow): Document {
  const tags = JSON.parse(tagsJson) as string[];
  return {
    collection: "procedures",
    id,
    content: lines(name, description, tags.join(", "), stepsJson.toString("utf8")),
    metadata: { name, tags, successCount: rest.successCount, failCount: rest.failCount, lastUsed: rest.lastUsed },
    timestamp: rest.createdAt,
  };
}

function incidentDocument({ id, timestamp, ...told }: Incident): Document {
  const { description, rootCause, resolution, prevention, resolvedBy } = told;
  return {
    collection: "incidents",
    id,
    content: lines(description, told.symptomsJson.toString("utf8"), rootCause, resolution, prevention),
    metadata: { resolvedBy },
    timestamp,
  };
}

function configChangeDocument({ id, filePath, content, changedBy, reason, timestamp }: ConfigChange): Document {
  const metadata = { filePath, changedBy };
  return { collection: "config_changes", id, content: lines(filePath, reason, content), metadata, timestamp };
}

function decisionDocument({ id, timestamp, ...made }: Decision): Document {
  const { context, chosen, reasoning, outcome, intelligenceLevel, modelUsed } = made;
  return {
    collection: "decisions",
    id,
    content: lines(context, chosen, reasoning, outcome),
    metadata: { chosen, outcome, intelligenceLevel, modelUsed },
    timestamp,
  };
}

const lines = (...texts: readonly string[]) => texts.filter((text) => text !== "").join("\n");
