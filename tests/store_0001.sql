BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE nas_alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT nas_alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "nas_alembic_version" VALUES('0001');
CREATE TABLE nas_architectures (
	id VARCHAR(64) NOT NULL, 
	json JSON NOT NULL, 
	notation TEXT NOT NULL, 
	macs BIGINT NOT NULL, 
	params BIGINT NOT NULL, 
	activations BIGINT NOT NULL, 
	peak_activation_bytes BIGINT NOT NULL, 
	created DATETIME NOT NULL, 
	CONSTRAINT pk_nas_architectures PRIMARY KEY (id)
);
INSERT INTO "nas_architectures" VALUES('complete','{"rows": ["complete"]}','ir_r1_k3.5_s2_e6_c40',2000000,30000,400000,160000,'2026-11-21 19:30:12.509902');
INSERT INTO "nas_architectures" VALUES('pruned','{"rows": ["pruned"]}','ir_r1_k3.5_s2_e6_c40',2000000,30000,400000,160000,'2026-11-21 19:30:12.927697');
INSERT INTO "nas_architectures" VALUES('failed','{"rows": ["failed"]}','ir_r1_k3.5_s2_e6_c40',2000000,30000,400000,160000,'2026-11-21 19:30:13.061282');
INSERT INTO "nas_architectures" VALUES('running','{"rows": ["running"]}','ir_r1_k3.5_s2_e6_c40',2000000,30000,400000,160000,'2026-11-21 19:30:13.221203');
CREATE TABLE nas_artifacts (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	kind VARCHAR(64) NOT NULL, 
	path VARCHAR(1024) NOT NULL, 
	created DATETIME NOT NULL, 
	CONSTRAINT pk_nas_artifacts PRIMARY KEY (id), 
	CONSTRAINT fk_nas_artifacts_study_id FOREIGN KEY(study_id) REFERENCES nas_studies (id), 
	CONSTRAINT uq_nas_artifacts_study_id_kind_path UNIQUE (study_id, kind, path)
);
INSERT INTO "nas_artifacts" VALUES(1,1,'code','studies/x/model.py','2026-11-21 19:30:13.294734');
CREATE TABLE nas_curve_points (
	evaluation_id INTEGER NOT NULL, 
	epoch INTEGER NOT NULL, 
	metrics JSON NOT NULL, 
	train_loss DOUBLE, 
	seconds DOUBLE NOT NULL, 
	learning_rate DOUBLE, 
	created DATETIME NOT NULL, 
	CONSTRAINT pk_nas_curve_points PRIMARY KEY (evaluation_id, epoch), 
	CONSTRAINT fk_nas_curve_points_evaluation_id FOREIGN KEY(evaluation_id) REFERENCES nas_evaluations (id)
);
INSERT INTO "nas_curve_points" VALUES(1,1,'{"accuracy": 0.25}',1.0,2.0,NULL,'2026-11-21 19:30:12.690467');
INSERT INTO "nas_curve_points" VALUES(1,2,'{"accuracy": 0.5}',1.0,2.0,NULL,'2026-11-21 19:30:12.779649');
INSERT INTO "nas_curve_points" VALUES(2,1,'{"accuracy": 0.25}',1.0,2.0,NULL,'2026-11-21 19:30:12.990574');
INSERT INTO "nas_curve_points" VALUES(2,2,'{"accuracy": 0.5}',1.0,2.0,NULL,'2026-11-21 19:30:12.991169');
INSERT INTO "nas_curve_points" VALUES(3,1,'{"accuracy": 0.25}',1.0,2.0,NULL,'2026-11-21 19:30:13.095484');
INSERT INTO "nas_curve_points" VALUES(3,2,'{"accuracy": 0.5}',1.0,2.0,NULL,'2026-11-21 19:30:13.096027');
INSERT INTO "nas_curve_points" VALUES(4,1,'{"accuracy": 0.125}',1.0,2.0,NULL,'2026-11-21 19:30:13.223467');
CREATE TABLE nas_evaluations (
	id INTEGER NOT NULL, 
	architecture_id VARCHAR(64) NOT NULL, 
	recipe_hash VARCHAR(64) NOT NULL, 
	fidelity INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	study_id INTEGER, 
	number INTEGER, 
	worker VARCHAR(255) NOT NULL, 
	attempt INTEGER NOT NULL, 
	deaths INTEGER NOT NULL, 
	expires_at DOUBLE, 
	metrics JSON, 
	reason TEXT, 
	seconds DOUBLE, 
	checkpoint TEXT, 
	created DATETIME NOT NULL, 
	finished DATETIME, 
	CONSTRAINT pk_nas_evaluations PRIMARY KEY (id), 
	CONSTRAINT fk_nas_evaluations_architecture_id FOREIGN KEY(architecture_id) REFERENCES nas_architectures (id), 
	CONSTRAINT fk_nas_evaluations_recipe_hash FOREIGN KEY(recipe_hash) REFERENCES nas_recipes (hash), 
	CONSTRAINT fk_nas_evaluations_study_id FOREIGN KEY(study_id) REFERENCES nas_studies (id), 
	CONSTRAINT uq_nas_evaluations_architecture_id_recipe_hash_fidelity UNIQUE (architecture_id, recipe_hash, fidelity)
);
INSERT INTO "nas_evaluations" VALUES(1,'complete','r1',3,'complete',1,0,'w1',1,0,NULL,'{"accuracy": 0.5}',NULL,4.0,NULL,'2026-11-21 19:30:12.510642','2026-11-21 19:30:12.797175');
INSERT INTO "nas_evaluations" VALUES(2,'pruned','r1',3,'pruned',1,1,'w1',1,0,NULL,'{"accuracy": 0.5}',NULL,4.0,NULL,'2026-11-21 19:30:12.927859','2026-11-21 19:30:12.991657');
INSERT INTO "nas_evaluations" VALUES(3,'failed','r1',3,'failed',1,2,'w1',1,0,NULL,'{}','out of memory',4.0,NULL,'2026-11-21 19:30:13.061444','2026-11-21 19:30:13.139900');
INSERT INTO "nas_evaluations" VALUES(4,'running','r1',3,'running',1,4,'w1',1,0,1.7952894732229819298e+09,NULL,NULL,NULL,NULL,'2026-11-21 19:30:13.221398',NULL);
CREATE TABLE nas_recipes (
	hash VARCHAR(64) NOT NULL, 
	json JSON NOT NULL, 
	created DATETIME NOT NULL, 
	CONSTRAINT pk_nas_recipes PRIMARY KEY (hash)
);
INSERT INTO "nas_recipes" VALUES('r1','{"epochs": 3}','2026-11-21 19:30:12.336198');
CREATE TABLE nas_studies (
	id INTEGER NOT NULL, 
	name VARCHAR(512) NOT NULL, 
	config JSON NOT NULL, 
	created DATETIME NOT NULL, 
	CONSTRAINT pk_nas_studies PRIMARY KEY (id), 
	CONSTRAINT uq_nas_studies_name UNIQUE (name)
);
INSERT INTO "nas_studies" VALUES(1,'übung','{"space": {"stage3": {"kernels": ["3", "3.5"]}}, "objective": {"w": -0.07}}','2026-11-21 19:30:12.335479');
CREATE TABLE nas_test_looks (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	evaluation_id INTEGER NOT NULL, 
	metrics JSON NOT NULL, 
	created DATETIME NOT NULL, 
	CONSTRAINT pk_nas_test_looks PRIMARY KEY (id), 
	CONSTRAINT fk_nas_test_looks_evaluation_id FOREIGN KEY(evaluation_id) REFERENCES nas_evaluations (id), 
	CONSTRAINT fk_nas_test_looks_study_id FOREIGN KEY(study_id) REFERENCES nas_studies (id)
);
INSERT INTO "nas_test_looks" VALUES(1,1,1,'{"accuracy": 0.5}','2026-11-21 19:30:13.293135');
CREATE TABLE nas_trials (
	trial_id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	evaluation_id INTEGER NOT NULL, 
	reused_from TEXT, 
	CONSTRAINT pk_nas_trials PRIMARY KEY (trial_id), 
	CONSTRAINT fk_nas_trials_evaluation_id FOREIGN KEY(evaluation_id) REFERENCES nas_evaluations (id), 
	CONSTRAINT fk_nas_trials_study_id FOREIGN KEY(study_id) REFERENCES nas_studies (id), 
	CONSTRAINT uq_nas_trials_study_id_number UNIQUE (study_id, number)
);
INSERT INTO "nas_trials" VALUES(1,1,0,1,NULL);
INSERT INTO "nas_trials" VALUES(2,1,1,2,NULL);
INSERT INTO "nas_trials" VALUES(3,1,2,3,NULL);
INSERT INTO "nas_trials" VALUES(4,1,3,1,'übung/0');
INSERT INTO "nas_trials" VALUES(5,1,4,4,NULL);
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'übung');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,1,0.25,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,2,0.5,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(3,2,1,0.25,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,2,2,0.5,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(5,3,1,0.25,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(6,3,2,0.5,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(7,4,1,0.25,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(8,4,2,0.5,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(9,5,1,0.125,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'stage3.kernels',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["3", "5", "3.5"]}}');
INSERT INTO "trial_params" VALUES(2,2,'stage3.kernels',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["3", "5", "3.5"]}}');
INSERT INTO "trial_params" VALUES(3,3,'stage3.kernels',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["3", "5", "3.5"]}}');
INSERT INTO "trial_params" VALUES(4,4,'stage3.kernels',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["3", "5", "3.5"]}}');
INSERT INTO "trial_params" VALUES(5,5,'stage3.kernels',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["3", "5", "3.5"]}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'evaluation','1');
INSERT INTO "trial_user_attributes" VALUES(2,1,'architecture_id','"complete"');
INSERT INTO "trial_user_attributes" VALUES(3,1,'notation','"ir_r1_k3.5_s2_e6_c40"');
INSERT INTO "trial_user_attributes" VALUES(4,1,'macs','2000000');
INSERT INTO "trial_user_attributes" VALUES(5,1,'params','30000');
INSERT INTO "trial_user_attributes" VALUES(6,1,'activations','400000');
INSERT INTO "trial_user_attributes" VALUES(7,1,'peak_activation_bytes','160000');
INSERT INTO "trial_user_attributes" VALUES(8,1,'fidelity','3');
INSERT INTO "trial_user_attributes" VALUES(9,1,'metrics','{"accuracy": 0.5}');
INSERT INTO "trial_user_attributes" VALUES(10,2,'evaluation','2');
INSERT INTO "trial_user_attributes" VALUES(11,2,'architecture_id','"pruned"');
INSERT INTO "trial_user_attributes" VALUES(12,2,'notation','"ir_r1_k3.5_s2_e6_c40"');
INSERT INTO "trial_user_attributes" VALUES(13,2,'macs','2000000');
INSERT INTO "trial_user_attributes" VALUES(14,2,'params','30000');
INSERT INTO "trial_user_attributes" VALUES(15,2,'activations','400000');
INSERT INTO "trial_user_attributes" VALUES(16,2,'peak_activation_bytes','160000');
INSERT INTO "trial_user_attributes" VALUES(17,2,'fidelity','3');
INSERT INTO "trial_user_attributes" VALUES(18,2,'metrics','{"accuracy": 0.5}');
INSERT INTO "trial_user_attributes" VALUES(19,3,'evaluation','3');
INSERT INTO "trial_user_attributes" VALUES(20,3,'architecture_id','"failed"');
INSERT INTO "trial_user_attributes" VALUES(21,3,'notation','"ir_r1_k3.5_s2_e6_c40"');
INSERT INTO "trial_user_attributes" VALUES(22,3,'macs','2000000');
INSERT INTO "trial_user_attributes" VALUES(23,3,'params','30000');
INSERT INTO "trial_user_attributes" VALUES(24,3,'activations','400000');
INSERT INTO "trial_user_attributes" VALUES(25,3,'peak_activation_bytes','160000');
INSERT INTO "trial_user_attributes" VALUES(26,3,'fidelity','3');
INSERT INTO "trial_user_attributes" VALUES(27,3,'reason','"out of memory"');
INSERT INTO "trial_user_attributes" VALUES(28,4,'evaluation','1');
INSERT INTO "trial_user_attributes" VALUES(29,4,'architecture_id','"complete"');
INSERT INTO "trial_user_attributes" VALUES(30,4,'notation','"ir_r1_k3.5_s2_e6_c40"');
INSERT INTO "trial_user_attributes" VALUES(31,4,'macs','2000000');
INSERT INTO "trial_user_attributes" VALUES(32,4,'params','30000');
INSERT INTO "trial_user_attributes" VALUES(33,4,'activations','400000');
INSERT INTO "trial_user_attributes" VALUES(34,4,'peak_activation_bytes','160000');
INSERT INTO "trial_user_attributes" VALUES(35,4,'fidelity','3');
INSERT INTO "trial_user_attributes" VALUES(36,4,'metrics','{"accuracy": 0.5}');
INSERT INTO "trial_user_attributes" VALUES(37,4,'reused_from','"\u00fcbung/0"');
INSERT INTO "trial_user_attributes" VALUES(38,5,'evaluation','4');
INSERT INTO "trial_user_attributes" VALUES(39,5,'architecture_id','"running"');
INSERT INTO "trial_user_attributes" VALUES(40,5,'notation','"ir_r1_k3.5_s2_e6_c40"');
INSERT INTO "trial_user_attributes" VALUES(41,5,'macs','2000000');
INSERT INTO "trial_user_attributes" VALUES(42,5,'params','30000');
INSERT INTO "trial_user_attributes" VALUES(43,5,'activations','400000');
INSERT INTO "trial_user_attributes" VALUES(44,5,'peak_activation_bytes','160000');
INSERT INTO "trial_user_attributes" VALUES(45,5,'fidelity','3');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,0.5,'FINITE');
INSERT INTO "trial_values" VALUES(2,2,0,0.5,'FINITE');
INSERT INTO "trial_values" VALUES(3,4,0,0.5,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-21 19:30:12.511008','2026-11-21 19:30:12.799831');
INSERT INTO "trials" VALUES(2,1,1,'PRUNED','2026-11-21 19:30:12.928039','2026-11-21 19:30:12.991976');
INSERT INTO "trials" VALUES(3,2,1,'FAIL','2026-11-21 19:30:13.061634','2026-11-21 19:30:13.140521');
INSERT INTO "trials" VALUES(4,3,1,'COMPLETE','2026-11-21 19:30:13.141789','2026-11-21 19:30:13.141789');
INSERT INTO "trials" VALUES(5,4,1,'RUNNING','2026-11-21 19:30:13.221667',NULL);
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE INDEX ix_nas_evaluations_study_id ON nas_evaluations (study_id);
CREATE INDEX ix_nas_test_looks_study_id ON nas_test_looks (study_id);
CREATE INDEX ix_nas_trials_evaluation_id ON nas_trials (evaluation_id);
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
