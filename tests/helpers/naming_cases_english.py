"""Cases for the English corpora with labels in file names (see `naming_cases`)."""

from __future__ import annotations

from naming_cases import NamedCorpus

RAVDESS = NamedCorpus(
    tree=[
        f"Actor_{actor:02}/03-01-{emotion:02}-01-0{statement}-01-{actor:02}.wav"
        for actor in range(1, 25)
        for emotion in range(1, 9)
        for statement in (1, 2)
    ],
    says={
        "Actor_12/03-01-06-02-02-01-12.wav": dict(
            utterance="03-01-06-02-02-01-12",
            speaker="12",
            gender="female",
            intensity="strong",
            text="Dogs are sitting by the door",
            language="en",
            label="06",
        ),
        "Actor_01/03-01-01-01-01-02-01.wav": dict(speaker="01", gender="male", intensity="normal", label="01"),
    },
    variants={
        "03-01-06-02-02-01-12.flac": "Actor_12/03-01-06-02-02-01-12.wav",
        "audio_speech_actors_01-24/ACTOR_12/03-01-06-02-02-01-12.WAV": "Actor_12/03-01-06-02-02-01-12.wav",
    },
    unused={
        "Actor_01/03-02-03-01-01-01-01.wav": "channel 02 is song",
        "Actor_01/01-01-03-01-01-01-01.mp4": "modality 01 is video",
        "Actor_01/02-01-03-01-01-01-01.mp4": "modality 02 is video",
        "Actor_02/03-01-03-01-01-01-01.wav": "the folder says Actor_02, the actor of the name 01",
        "Actor_01/03-01-09-01-01-01-01.wav": "the name is not modality",
    },
)

TESS = NamedCorpus(
    tree=[
        f"{speaker}_{folder}/{speaker}_{word}_{emotion}.wav"
        for speaker in ("OAF", "YAF")
        for word in ("back", "bar", "base", "bath", "bean", "beg")
        for emotion, folder in {
            "angry": "angry",
            "disgust": "disgust",
            "fear": "fear",
            "happy": "happy",
            "neutral": "neutral",
            "ps": "pleasant_surprised",
            "sad": "sad",
        }.items()
    ],
    says={
        "YAF_back_ps.wav": dict(
            utterance="YAF_back_ps",
            speaker="YAF",
            session="back",
            gender="female",
            text="Say the word back",
            label="ps",
        ),
        "OAF_neutral/OA_bite_neutral.wav": dict(utterance="OAF_bite_neutral", speaker="OAF", label="neutral"),
    },
    variants={
        "YAF_pleasant_surprised/YAF_back_ps.wav": "YAF_back_ps.wav",
        "TESS/YAF_Pleasant_surprise/yaf_back_ps.flac": "YAF_back_ps.wav",
        "OAF_bite_neutral.wav": "OAF_neutral/OA_bite_neutral.wav",
    },
    unused={
        "YAF_sad/YAF_back_angry.wav": "the folder says YAF_sad, the speaker and emotion of the name YAF angry",
        "OAF_sad/YAF_back_sad.wav": "the folder says OAF_sad",
        "OA_back_neutral.wav": "the name is not speaker, word, emotion",
    },
)

CREMA_D = NamedCorpus(
    tree=[
        f"AudioWAV/{actor}_IEO_{emotion}_XX.wav"
        for actor in range(1001, 1092)
        for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
    ],
    says={
        "AudioWAV/1002_DFA_ANG_XX.wav": dict(
            utterance="1002_DFA_ANG_XX",
            speaker="1002",
            gender="female",
            intensity="",
            text="Don't forget a jacket.",
            label="ANG",
        ),
        "AudioWAV/1040_ITH_SAD_X.wav": dict(utterance="1040_ITH_SAD_XX", intensity="", label="SAD"),
        "AudioWAV/1001_IEO_SAD_HI.wav": dict(gender="male", intensity="high", label="SAD"),
        "AudioWAV/1003_IEO_HAP_LO.wav": dict(gender="", intensity="low", label="HAP"),
    },
    variants={
        "1002_dfa_ang_xx.WAV": "AudioWAV/1002_DFA_ANG_XX.wav",
        "AudioMP3/1002_DFA_ANG_XX.mp3": "AudioWAV/1002_DFA_ANG_XX.wav",
    },
    unused={
        "AudioWAV/1001_ABC_ANG_XX.wav": "the name is not actor, sentence, emotion, level",
        "AudioWAV/1001_DFA_ANG.wav": "such as 1001_DFA_ANG_XX",
    },
    files={
        "VideoDemographics.csv": b'"ActorID","Age","Sex","Race","Ethnicity"\n'
        b'1001,51,"Male","Caucasian","Not Hispanic"\n1002,21,"Female","Caucasian","Not Hispanic"\n'
    },
)

SAVEE = NamedCorpus(
    tree=[
        f"AudioData/{speaker}/{emotion}{number:02}.wav"
        for speaker in ("DC", "JE", "JK", "KL")
        for emotion in ("a", "d", "f", "h", "n", "sa", "su")
        for number in (1, 2)
    ],
    says={"AudioData/JE/sa05.wav": dict(utterance="JE_sa05", speaker="JE", gender="male", label="sa", language="en")},
    variants={
        "JE_sa05.wav": "AudioData/JE/sa05.wav",
        "ALL/je_SA05.flac": "AudioData/JE/sa05.wav",
        "je/sa05.wav": "AudioData/JE/sa05.wav",
    },
    unused={
        "sa05.wav": "neither the name nor a folder says the speaker",
        "KL/DC_a01.wav": "the folder says KL, the speaker of the name DC",
        "KL/x01.wav": "the name is not emotion and number",
    },
)

MSP_LABELS = {  # each label for each speaker
    f"session{session}/S01A/S/MSP-IMPROV-S01A-{gender}0{session}-S-FM{turn:02}": label
    for session in range(1, 7)
    for gender in "FM"
    for turn, label in enumerate("AHNSOX" * 2, start=1)
}
MSP_LINES = "".join(
    f"UTD-{path.rsplit('/MSP-', 1)[1]}.avi; {label}; A:2.500000; V:3.000000; D:3.250000 ; N:3.500000;\n"
    f"  voter-{label}; Neutral; Neutral,; A:3.0; V:3.0; D:3.0; N:4.0;\n\n"
    for path, label in MSP_LABELS.items()
)
MSP_IMPROV = NamedCorpus(
    tree=[f"{path}.wav" for path in MSP_LABELS],
    says={
        "session3/S01A/S/MSP-IMPROV-S01A-M03-S-FM04.wav": dict(
            utterance="MSP-IMPROV-S01A-M03-S-FM04", speaker="M03", gender="male", session="session3", label="S"
        ),
        "session6/S01A/S/MSP-IMPROV-S01A-F06-S-FM05.wav": dict(
            speaker="F06", gender="female", session="session6", language="en", label="O"
        ),
    },
    variants={
        "MSP-IMPROV-S01A-M03-S-FM04.flac": "session3/S01A/S/MSP-IMPROV-S01A-M03-S-FM04.wav",
        "Audio/session3/S01A/S/msp-improv-s01a-m03-s-fm04.WAV": "session3/S01A/S/MSP-IMPROV-S01A-M03-S-FM04.wav",
        "session3/S01A/S/MSP-IMPROV-S01A-M03-S-FM04.avi": "session3/S01A/S/MSP-IMPROV-S01A-M03-S-FM04.wav",
    },
    unused={
        "session1/S02A/S/MSP-IMPROV-S02A-M01-S-FM01.wav": "file without an evaluation",
        "session1/S02A/S/MSP-IMPROV-S02A-M07-S-FM01.wav": "the name is not sentence, speaker, scenario, turn",
    },
    files={"Evaluation.txt": MSP_LINES.encode()},
)

JL_LABELS = ("angry", "sad", "neutral", "happy", "excited", "anxious", "apologetic", "assertive", "concerned")
JL_CORPUS = NamedCorpus(
    tree=[
        f"Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/{speaker}_{emotion}_{sentence}_1.wav"
        for speaker in ("female1", "female2", "male1", "male2")
        for emotion in (*JL_LABELS, "encouraging")
        for sentence in ("6b", "15a")
    ],
    says={
        "JL(wav+txt)/male2_concerned_6b_1.wav": dict(
            utterance="male2_concerned_6b_1", speaker="male2", gender="male", text="Carl leaps.", label="concerned"
        ),
        "JL(wav+txt)/female1_happy_15a_2.wav": dict(speaker="female1", gender="female", text="", label="happy"),
        "JL(wav+txt)/male1_sad_6b_1.wav": dict(speaker="male1", text="Text in capitals.", label="sad"),
    },
    variants={
        "male2_concerned_6b_1.wav": "JL(wav+txt)/male2_concerned_6b_1.wav",
        "JL/Male2_Concerned_6B_1.flac": "JL(wav+txt)/male2_concerned_6b_1.wav",
    },
    unused={"male3_happy_6b_1.wav": "the name is not speaker, emotion", "male2_pensive_6b_1.wav": "the name is not"},
    files={
        "JL(wav+txt)/male2_concerned_6b_1.txt": b"Carl leaps.\n",
        "JL(wav+txt)/Male1_Sad_6B_1.TXT": b"Text in capitals.\n",
    },
)

ENTERFACE_FOLDERS = {
    "an": "anger",
    "di": "disgust",
    "fe": "fear",
    "ha": "happiness",
    "sa": "sadness",
    "su": "surprise",
}
ENTERFACE = NamedCorpus(
    tree=[
        f"subject {subject}/{folder}/sentence 4/s{12 if subject == 11 else subject}_{emotion}_4.avi"
        for subject in range(1, 45)
        for emotion, folder in ENTERFACE_FOLDERS.items()
    ],
    says={
        "subject 19/anger/sentence 4/s19_an_4.avi": dict(
            utterance="s19_an_4", speaker="19", gender="", language="en", label="an"
        ),
        "subject 11/sadness/sentence 2/s12_sa_2.avi": dict(utterance="s11_sa_2", speaker="11", label="sa"),
        "subject 3/surprise/sentence 4/s_3_su_4.avi": dict(utterance="s3_su_4", speaker="3", label="su"),
        "subject 16/surprise/sentence 3/s16_su_3avi.avi": dict(utterance="s16_su_3", label="su"),
        "subject 6/fear/s6_fe.avi": dict(utterance="s6_fe", speaker="6", label="fe"),
    },
    variants={
        "s19_an_4.wav": "subject 19/anger/sentence 4/s19_an_4.avi",
        "Subject19/Anger/S19_AN_4.AVI": "subject 19/anger/sentence 4/s19_an_4.avi",
        "s11_sa_2.wav": "subject 11/sadness/sentence 2/s12_sa_2.avi",
    },
    unused={
        "subject 7/anger/sentence 1/s8_an_1.avi": "the folder says subject 7, the subject of the name 8",
        "subject 7/anger/sentence 1/s7_fe_1.avi": "the folder says anger, the emotion of the name fe",
        "subject 7/anger/sentence 1/s7_xx_1.avi": "the name is not subject, emotion, sentence",
    },
)

CORPORA = {
    "ravdess": RAVDESS,
    "tess": TESS,
    "crema_d": CREMA_D,
    "savee": SAVEE,
    "msp_improv": MSP_IMPROV,
    "jl_corpus": JL_CORPUS,
    "enterface": ENTERFACE,
}
